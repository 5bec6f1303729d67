//! The world of one seed: a disk, two clocks, one process life after the other, and the model.
//!
//! Owns what a step does, and what happens between two lives: how much of the disk is left, which
//! boot the next one runs in, and what it is asked to find.
//!
//! Must not know what is right; that is the model's. Invariant: after every step a life is open.

use crate::found::{Bounds, Left, adopt};
use crate::life::{End, Figures, Life, Outcome, promise};
use crate::model::Model;
use crate::step::{How, Step};
use crate::support::boots::restored_to;
use crate::support::disk::SimDisk;
use crate::support::fault::{Faults, Op};
use crate::support::rig::{BOOT, clock_at};
use crate::support::seed::Chance;
use tallyd::clock::{Clock, HandClock};
use tallyd::funnel::{LATE_NS_MAX, Settings};
use tallyd::hit::Ask;
use tallyd::journal::name;
use tallyd::journal::record::{HEADER_BYTES, Header, Key, RECORD_BYTES, decode};
use tallyd::stamp::{BootId, SECOND_NS, Stamp};

/// How often the process dies while it starts, at the most.
const DEATHS_MAX: u32 = 2;

pub struct World {
    pub figures: Figures,
    disk: SimDisk,
    clock: HandClock,
    model: Model,
    life: Option<Life>,
    /// What the next start meets.
    settings: Settings,
    sickness: Option<(Op, u64, i32)>,
    rot: Option<u64>,
    /// How the present process will end, and when the next one does.
    death: Option<(How, Option<u64>)>,
    boots: u64,
}

impl World {
    pub fn new(settings: Settings) -> Outcome<Self> {
        let mut world = Self {
            figures: Figures::default(),
            disk: SimDisk::default(),
            clock: clock_at(SECOND_NS as i64),
            model: Model::new(settings, BOOT),
            life: None,
            settings,
            sickness: None,
            rot: None,
            death: None,
            boots: 0,
        };
        world.start(Left::Written, false)?;
        Ok(world)
    }

    fn life(&mut self) -> &mut Life {
        self.life.as_mut().expect("a life is open between steps")
    }

    /// Takes a step; if the process dies of it, the next one is started.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        self.figures.steps += 1;
        match self.step(step) {
            Ok(()) => Ok(()),
            Err(End::Died) => self.died().map_err(in_words),
            Err(End::Broken(why)) => Err(why),
        }
    }

    /// Everything that is left to do, a last look, and an orderly end.
    pub fn finish(&mut self) -> Result<(), String> {
        let how = How::Kill;
        for step in [
            Step::Heal,
            Step::Sync,
            Step::Status,
            Step::Turns,
            Step::Stop { how },
        ] {
            self.take(&step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Outcome {
        let now = self.clock.now();
        if self.life().is_full() {
            self.turns()?;
        }
        let Self {
            life, model, disk, ..
        } = self;
        let life = life.as_mut().expect("a life is open between steps");
        let arrange = |faults: &dyn Fn(&mut Faults)| disk.faults(|of_disk| faults(of_disk));
        match step {
            Step::Send { lateness_ns, early } => {
                let seen = |&ns: &u64| {
                    if *early {
                        now.after(ns)
                    } else {
                        now.before(ns)
                    }
                };
                life.send(lateness_ns.0.iter().map(seen).collect());
            }
            Step::Count { window_ns, ago_ns } => life.ask(Ask::Count {
                window_ns: *window_ns,
                at: (*ago_ns > 0).then_some(now.before(*ago_ns)),
            }),
            Step::Between {
                from_ago_ns,
                to_ago_ns,
            } => life.ask(Ask::Between {
                from: now.before(*from_ago_ns),
                to: now.before(*to_ago_ns),
            }),
            Step::Steps {
                from_ago_ns,
                step_ns,
                count,
                end,
            } => life.ask(Ask::Steps {
                from: now.before(*from_ago_ns),
                step_ns: *step_ns,
                count: *count,
                end: *end,
            }),
            Step::Status => life.ask(Ask::Status),
            Step::Turn => life.turn(model)?,
            Step::Turns => self.turns()?,
            Step::Tick => life.tick(model)?,
            Step::Pass { span_ns } => self.clock.advance(*span_ns),
            Step::UntilDue => {
                if let Some(due) = life.funnel.due() {
                    self.clock.advance(due.since(now));
                    life.tick(model)?;
                }
            }
            Step::Wall { step_ns } => {
                let wall_ns = self.clock.wall_ns().saturating_add(*step_ns);
                self.clock.step_wall_to(wall_ns);
            }
            Step::RunJob => life.run_job(model)?,
            Step::Deliver => life.deliver(),
            Step::Sync => life.quiesce(model)?,
            Step::Fail {
                op,
                nth,
                times,
                errno,
            } => {
                arrange(&|faults| faults.some(*op, *nth, *times, *errno));
            }
            Step::Room { bytes } => arrange(&|faults| faults.room(*bytes)),
            Step::Short { seed } => arrange(&|faults| faults.short(*seed)),
            Step::Heal => arrange(&Faults::heal),
            Step::SickStart { op, nth, errno } => self.sickness = Some((*op, *nth, *errno)),
            Step::Rot { seed } => self.rot = Some(*seed),
            Step::Settings(settings) => self.settings = *settings,
            Step::Die { calls, again, how } => {
                arrange(&|faults| faults.die_after(Some(*calls)));
                self.death = Some((*how, *again));
                if *calls == 0 {
                    return Err(End::Died);
                }
            }
            Step::Stop { how } => return self.stop(*how),
        }
        Ok(())
    }

    fn turns(&mut self) -> Outcome {
        let Self { life, model, .. } = self;
        let life = life.as_mut().expect("a life is open between steps");
        while life.has_message() {
            life.turn(model)?;
        }
        Ok(())
    }

    fn stop(&mut self, how: How) -> Outcome {
        let Self { life, model, .. } = self;
        life.as_mut()
            .expect("a life is open between steps")
            .quiesce(model)?;
        let life = self.life.take().expect("a life is open between steps");
        self.figures.add(&life.figures);
        life.stop(&mut self.model)?;
        self.figures.stops += 1;
        self.disk.faults(|faults| faults.die_after(None));
        self.death = None;
        self.next(how, false)
    }

    /// The process is dead: what it has answered is looked at, and the next one comes.
    fn died(&mut self) -> Outcome {
        let mut in_turn = true;
        if let Some(mut life) = self.life.take() {
            in_turn = life.is_in_turn();
            life.last_words(&mut self.model)?;
            self.figures.add(&life.figures);
        }
        let (how, again) = self.death.take().expect("a death was arranged");
        let mut how = how;
        let mut again = again;
        for _ in 0..DEATHS_MAX {
            match self.next_that_dies(how, in_turn, again.take()) {
                Err(End::Died) => in_turn = false,
                outcome => return outcome,
            }
            if let How::Cut { seed, .. } = &mut how {
                *seed = seed.wrapping_add(1);
            }
        }
        unreachable!("the second start is not to die")
    }

    fn next(&mut self, how: How, in_turn: bool) -> Outcome {
        self.next_that_dies(how, in_turn, None)
    }

    /// Goes to the next life, which dies at the call after `calls`, if there are any.
    fn next_that_dies(&mut self, how: How, in_turn: bool, calls: Option<u64>) -> Outcome {
        let mut behind_ns = 0;
        let left = match how {
            How::Kill => {
                self.figures.kills += 1;
                self.disk = self.disk.kill();
                Left::Written
            }
            How::Renamed {
                is_unknown,
                wall_step_ns,
            } => {
                self.figures.renamed += 1;
                self.disk = self.disk.kill();
                let wall_ns = self.clock.wall_ns().saturating_add(wall_step_ns);
                self.clock.step_wall_to(wall_ns);
                self.rename();
                if is_unknown {
                    self.model.boot = BootId::unknown(self.boots as i64);
                }
                Left::Written
            }
            How::Restored {
                back_ns,
                wall_step_ns,
            } => {
                self.figures.restored += 1;
                self.disk = self.disk.kill();
                let now = self.clock.now().before(back_ns).max(Stamp::from_ns(1));
                let now = restored_to(&self.disk, now);
                behind_ns = self.clock.now().since(now);
                let wall_ns = self.clock.wall_ns().saturating_add(wall_step_ns);
                self.clock = HandClock::new(now, wall_ns);
                Left::Written
            }
            How::Cut {
                seed,
                gap_ns,
                uptime_ns,
            } => {
                self.figures.cuts += 1;
                self.disk = self.disk.crash(&mut Chance::new(seed));
                self.boot(gap_ns, uptime_ns);
                Left::Synced
            }
            How::Reboot { gap_ns, uptime_ns } => {
                self.figures.reboots += 1;
                self.disk = self.disk.unmount();
                self.boot(gap_ns, uptime_ns);
                Left::Unmounted
            }
        };
        if let Some(seed) = self.rot.take() {
            self.rot(&mut Chance::new(seed));
        }
        if let Some(calls) = calls {
            self.disk.faults(|faults| faults.die_after(Some(calls)));
        }
        let outcome = self.start(left, in_turn);
        self.disk.faults(|faults| faults.die_after(None));
        if behind_ns > 0 {
            // A single record later than the first of the next segment would be taken for a damaged one, and
            // a hit may be seen so much earlier than now.
            self.clock.advance(behind_ns.saturating_add(LATE_NS_MAX));
        }
        outcome
    }

    /// Flips bits of some record, never more than its check is sure to see.
    fn rot(&mut self, chance: &mut Chance) {
        let files = self.disk.names();
        if files.iter().any(|file| file.ends_with(".aside")) {
            // Which places are whose is not known any more once two kinds of damage meet.
            return;
        }
        let file = files.get(chance.upto(files.len() as u64) as usize);
        let content = file.and_then(|file| self.disk.content(file));
        let (Some(file), Some(content)) = (file, content) else {
            return;
        };
        let records = content.len().saturating_sub(HEADER_BYTES) / RECORD_BYTES;
        let header = content
            .get(..HEADER_BYTES)
            .and_then(|head| head.try_into().ok());
        let Some(header) = header.and_then(|head| Header::decode(head).ok()) else {
            return;
        };
        if records == 0 || name::segment(header.number) != *file {
            return;
        }
        let index = chance.upto(records as u64 - 1) as usize;
        let slot = &content[HEADER_BYTES + index * RECORD_BYTES..][..RECORD_BYTES];
        if decode(slot, Key::of(header.number)).is_none() {
            // A slot of an earlier segment in the same file: with other bits it may be taken for a damaged record
            // of this one.
            self.model.made_up += 1;
        }
        for bit in 0..=chance.upto(2) {
            let byte = HEADER_BYTES + index * RECORD_BYTES + chance.upto(7) as usize;
            self.disk.flip(file, byte, 1 << bit);
        }
        // Lost places behind it have its time, and now take that of the one before.
        let places = &mut self.model.places;
        let mut behind = places.iter_mut().skip(header.sequence as usize + index);
        if let Some(place) = behind.next() {
            place.rotten = true;
            let at = place.counted.at;
            let same = behind.take_while(|other| other.counted.at == at);
            same.for_each(|other| other.rotten = true);
        }
        self.figures.rotten += 1;
        self.model.damaged = true;
    }

    /// Another boot begins: its clock starts anew, and the wall clock shows whatever it shows.
    fn boot(&mut self, gap_ns: i64, uptime_ns: u64) {
        let wall_ns = self.clock.wall_ns().saturating_add(gap_ns);
        self.clock = HandClock::new(Stamp::from_ns(uptime_ns as i64), wall_ns);
        self.rename();
    }

    fn rename(&mut self) {
        self.boots += 1;
        let mut boot = BootId::default();
        boot.0[..8].copy_from_slice(&self.boots.to_be_bytes());
        self.model.boot = boot;
    }

    fn start(&mut self, left: Left, in_turn: bool) -> Outcome {
        let settings = self.settings;
        self.model.settings = settings;
        self.model.ledger.window_ns = settings.window_ns;
        let bounds = Bounds { left, in_turn };
        let now = self.clock.anchor();
        adopt(&self.disk, &mut self.model, now, &bounds, &mut self.figures)?;
        self.model.begin();
        if let Some((op, nth, errno)) = self.sickness.take() {
            self.figures.sick_starts += 1;
            self.disk.faults(|faults| faults.once(op, nth, errno));
            let failures = self.disk.faults(|faults| faults.failures());
            let opened = Life::open(&self.disk, &self.clock, &self.model)?;
            let met = self.disk.faults(|faults| faults.failures()) > failures;
            self.disk.faults(Faults::heal);
            match opened {
                Ok((life, recovered)) => return self.begin(life, recovered.end),
                Err(error) => promise(met, || format!("no start on a sound disk: {error}"))?,
            }
            // What the failed start did to the disk must not have changed what is found.
            let again = Bounds {
                left: Left::Written,
                in_turn: false,
            };
            adopt(&self.disk, &mut self.model, now, &again, &mut self.figures)?;
        }
        let opened = Life::open(&self.disk, &self.clock, &self.model)?;
        let (life, recovered) = opened.map_err(|error| End::Broken(error.to_string()))?;
        self.begin(life, recovered.end)
    }

    fn begin(&mut self, life: Life, end: u64) -> Outcome {
        let expected = self.model.end() as u64;
        promise(end == expected, || {
            format!("{end} hits are found, {expected} before")
        })?;
        self.life = Some(life);
        Ok(())
    }
}

fn in_words(end: End) -> String {
    match end {
        End::Died => "died twice".to_owned(),
        End::Broken(why) => why,
    }
}
