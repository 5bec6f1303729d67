//! A journal that moves under every step of a look: between any two operations of the reader, its owner
//! may take turns, rotate, retire and recycle.
//!
//! Owns the disk that lets the owner live on whenever the reader touches it, as chance will have it.
//!
//! Must not know how a look is taken. Invariant tested: a look finds nothing amiss in a sound journal,
//! and what it counts up to an instant before it began is the model's number.

use crate::look::{begun, step};
use crate::support::disk::{SimDisk, SimFile};
use crate::support::ledger::Ledger;
use crate::support::rig::{BOOT, Rig, WINDOW_NS};
use crate::support::seed::{Chance, count, for_seeds};
use std::io;
use std::sync::{Arc, Mutex};
use tallyd::clock::Clock;
use tallyd::funnel::LATE_NS_MAX;
use tallyd::journal::disk::{Disk, DiskFile};
use tallyd::journal::{Missed, View};
use tallyd::stamp::Stamp;

/// The owner, and how many steps of its life are left to take.
struct Owner {
    rig: Rig,
    ledger: Ledger,
    chance: Chance,
    steps: u64,
    in_many: u64,
}

/// Lets the owner live on, or not.
fn live_on(owner: &Mutex<Owner>) {
    let mut owner = owner.lock().expect("no step panics");
    let in_many = owner.in_many;
    if owner.steps > 0 && owner.chance.once(in_many) {
        owner.steps -= 1;
        let Owner {
            rig,
            ledger,
            chance,
            ..
        } = &mut *owner;
        step(rig, ledger, chance);
    }
}

struct Moving {
    disk: SimDisk,
    owner: Arc<Mutex<Owner>>,
}

struct MovingFile {
    file: SimFile,
    owner: Arc<Mutex<Owner>>,
}

impl Disk for Moving {
    type File = MovingFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        live_on(&self.owner);
        let mut listed = self.disk.list()?;
        // A directory is read piece by piece, and a length when its name is come to.
        listed.retain_mut(|(name, bytes)| {
            live_on(&self.owner);
            match self.disk.content(name) {
                Some(content) => *bytes = content.len() as u64,
                None => return false,
            }
            true
        });
        Ok(listed)
    }

    fn open(&self, name: &str) -> io::Result<MovingFile> {
        live_on(&self.owner);
        let file = self.disk.open(name)?;
        let owner = Arc::clone(&self.owner);
        Ok(MovingFile { file, owner })
    }

    fn create(&self, _: &str) -> io::Result<MovingFile> {
        unreachable!("a look creates nothing")
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("a look renames nothing")
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        unreachable!("a look removes nothing")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("a look syncs nothing")
    }

    fn path(&self, name: &str) -> String {
        self.disk.path(name)
    }
}

impl DiskFile for MovingFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        live_on(&self.owner);
        // Half a write may be seen: what is read comes in two pieces with a step between them.
        let middle = bytes.len() / 16 * 8;
        let first = self.file.read_at(&mut bytes[..middle], offset)?;
        if first < middle {
            return Ok(first);
        }
        live_on(&self.owner);
        let second = self
            .file
            .read_at(&mut bytes[middle..], offset + middle as u64)?;
        Ok(first + second)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        unreachable!("a look writes nothing")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("a look cuts nothing")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("a look syncs nothing")
    }
}

#[test]
fn a_look_at_a_journal_that_moves_meanwhile_is_of_one_instant() {
    for_seeds(count(1000), |seed| {
        let mut chance = Chance::new(seed);
        let (mut rig, mut ledger) = begun(chance.pick(&[4, 20, 40]));
        for _ in 0..chance.between(3, 80) {
            step(&mut rig, &mut ledger, &mut chance);
        }
        let (disk, clock) = (rig.disk.clone(), rig.clock.clone());
        let (before, total) = (clock.now().before(1), ledger.total());
        let owner = Owner {
            rig,
            ledger,
            steps: chance.between(1, 20),
            in_many: chance.pick(&[1, 2, 5, 20]),
            chance,
        };
        let owner = Arc::new(Mutex::new(owner));
        let moving = Moving {
            disk,
            owner: Arc::clone(&owner),
        };
        let view = View::open(&moving, BOOT, || clock.anchor()).expect("a look");
        assert_eq!(view.findings, [""; 0]);
        assert_eq!(view.doubtful_until, Stamp::MIN, "nothing is damaged");
        let after = owner.lock().expect("no step panics").ledger.total();
        assert!(
            (total..=after).contains(&view.end),
            "{total} {} {after}",
            view.end
        );
        let mut draw = Chance::new(!seed);
        for _ in 0..10 {
            let to = before.before(draw.span(WINDOW_NS));
            let from = to.before(draw.span(WINDOW_NS + LATE_NS_MAX));
            let counted = view
                .upper_bound(to)
                .and_then(|end| Ok(end.position - view.upper_bound(from)?.position));
            match counted {
                Ok(counted) if from >= view.complete_after => {
                    let owner = owner.lock().expect("no step panics");
                    assert_eq!(counted, owner.ledger.between(from, to));
                }
                Ok(_) | Err(Missed::Retired) => {}
                Err(Missed::Failed(error)) => panic!("{error}"),
            }
        }
    });
}

/// The owner takes a turn of three hits after each read of records.
struct Busy {
    disk: SimDisk,
    rig: Arc<Mutex<(Rig, u64)>>,
}

struct BusyFile {
    file: SimFile,
    rig: Arc<Mutex<(Rig, u64)>>,
}

impl Disk for Busy {
    type File = BusyFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<BusyFile> {
        let (file, rig) = (self.disk.open(name)?, Arc::clone(&self.rig));
        Ok(BusyFile { file, rig })
    }

    fn create(&self, _: &str) -> io::Result<BusyFile> {
        unreachable!("a look creates nothing")
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("a look renames nothing")
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        unreachable!("a look removes nothing")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("a look syncs nothing")
    }

    fn path(&self, name: &str) -> String {
        self.disk.path(name)
    }
}

impl DiskFile for BusyFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(bytes, offset)?;
        let (rig, turns) = &mut *self.rig.lock().expect("no turn panics");
        // More than one slot is a scan, not a search.
        if bytes.len() > 64 && *turns > 0 {
            *turns -= 1;
            rig.clock.advance(1);
            rig.hit_now(3);
        }
        Ok(read)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        unreachable!("a look writes nothing")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("a look cuts nothing")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("a look syncs nothing")
    }
}

#[test]
fn equal_turns_on_their_way_at_two_looks_are_not_taken_for_damage() {
    let (mut rig, _) = begun(200);
    // Segments are full one by one, until the newest is written over an old one.
    let newest = |rig: &Rig| rig.disk.names().into_iter().max();
    let mut first = newest(&rig);
    let mut rotations = 0;
    while rotations < 6 {
        rig.clock.advance(WINDOW_NS + LATE_NS_MAX);
        rig.hit_now(100);
        rig.tick();
        rig.run_jobs();
        let now = newest(&rig);
        rotations += u32::from(now != first);
        first = now;
    }
    let (disk, clock) = (rig.disk.clone(), rig.clock.clone());
    for turns in 1..12 {
        let before = rig.status().total;
        let busy = Busy {
            disk: disk.clone(),
            rig: Arc::new(Mutex::new((rig, turns))),
        };
        let view = View::open(&busy, BOOT, || clock.anchor()).expect("a look");
        assert_eq!(view.findings, [""; 0], "{turns} turns");
        assert_eq!(view.doubtful_until, Stamp::MIN, "{turns} turns");
        assert!(view.end >= before, "{turns} turns");
        let shared = Arc::into_inner(busy.rig).expect("no file is open");
        rig = shared.into_inner().expect("no turn panics").0;
    }
}
