//! Lives on the line of the present boot, and files that are not as they were written.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const TODAY: BootId = BootId([1; 16]);
const BEFORE: BootId = BootId([2; 16]);

const fn anchor(at_ns: i64, wall_ns: i64) -> Anchor {
    Anchor {
        at: Stamp::from_ns(at_ns),
        wall_ns,
    }
}

/// A life of `boot` from `start` on, in a list that is read from `directory`.
fn begun(directory: &Path, boot: BootId, now: Anchor, count: u64) -> (Lives, Option<String>) {
    let mut lives = Lives::open(directory, boot);
    let doubt = lives.begin(now, count, None);
    lives.write();
    (lives, doubt)
}

fn gap(from_ns: i64, to_ns: i64, since_last_hit: bool) -> Gap {
    Gap {
        from: Stamp::from_ns(from_ns),
        to: Stamp::from_ns(to_ns),
        since_last_hit,
    }
}

#[test]
fn time_between_a_clean_stop_and_the_next_start_is_a_gap() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut lives, doubt) = begun(data.path(), TODAY, anchor(100, 5_100), 0);
    assert_eq!(doubt, None);
    let first = Gap {
        from: Stamp::MIN,
        ..gap(0, 100, false)
    };
    assert_eq!(lives.gaps(anchor(150, 5_150)).list, [first]);
    lives.end(anchor(200, 5_200), 7);
    lives.write();
    // In the same boot a step of the wall clock moves nothing.
    let (lives, doubt) = begun(data.path(), TODAY, anchor(300, 99), 7);
    assert_eq!(doubt, None);
    let gaps = lives.gaps(anchor(400, 199));
    assert_eq!(gaps.list, [first, gap(200, 300, false)]);
    assert_eq!(gaps.known_from, Stamp::MIN);
    assert_eq!(lives.anchor(), Some(anchor(300, 99)));
}

#[test]
fn gap_behind_a_killed_life_begins_with_its_last_hit_or_its_start() {
    for (newest_ns, from_ns) in [(Some(150), 150), (Some(50), 100), (None, 100)] {
        let data = tempfile::tempdir().expect("a directory");
        begun(data.path(), TODAY, anchor(100, 5_100), 3);
        let mut lives = Lives::open(data.path(), TODAY);
        lives.begin(anchor(300, 5_300), 9, newest_ns.map(Stamp::from_ns));
        let gaps = lives.gaps(anchor(400, 5_400));
        assert_eq!(gaps.list, [gap(from_ns, 300, true)]);
        assert_eq!(gaps.known_from, Stamp::from_ns(100));
        lives.write();
        let again = Lives::open(data.path(), TODAY);
        assert_eq!(again.list, lives.list, "it is read as it was written");
    }
}

#[test]
fn life_of_another_boot_is_placed_by_the_wall_clock_and_never_overlaps() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut lives, _) = begun(data.path(), BEFORE, anchor(9_000, 1_000), 0);
    lives.end(anchor(9_500, 1_500), 4);
    lives.write();
    assert_eq!(Lives::open(data.path(), TODAY).anchor(), None);
    let (lives, _) = begun(data.path(), TODAY, anchor(50, 2_050), 4);
    assert_eq!(lives.gaps(anchor(60, 2_060)).list[1], gap(-500, 50, false));
    // A wall clock that was set back past the end leaves no gap rather than a false one.
    let stepped = lives.gaps(anchor(60, 1_200));
    assert_eq!(stepped.list.len(), 1, "{stepped:?}");
    // A killed life of another boot keeps its end by the wall clock, too.
    let data = tempfile::tempdir().expect("a directory");
    begun(data.path(), BEFORE, anchor(9_000, 1_000), 1);
    let mut lives = Lives::open(data.path(), TODAY);
    lives.begin(anchor(50, 2_050), 4, Some(Stamp::from_ns(-900)));
    assert_eq!(lives.gaps(anchor(60, 2_060)).list, [gap(-900, 50, true)]);
}

#[test]
fn hits_that_nobody_noted_end_the_gap_before_them() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut lives, _) = begun(data.path(), TODAY, anchor(100, 5_100), 1);
    lives.end(anchor(200, 5_200), 7);
    lives.write();
    let mut lives = Lives::open(data.path(), TODAY);
    assert_eq!(
        lives.begin(anchor(400, 5_400), 9, Some(Stamp::from_ns(300))),
        None
    );
    assert_eq!(lives.gaps(anchor(500, 5_500)).list, [gap(300, 400, true)]);
}

#[test]
fn journal_that_ends_before_what_was_counted_is_doubtful_once_with_both_numbers() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut lives, _) = begun(data.path(), TODAY, anchor(100, 5_100), 0);
    lives.end(anchor(200, 5_200), 10);
    lives.write();
    let (_, doubt) = begun(data.path(), TODAY, anchor(300, 5_300), 7);
    let doubt = doubt.expect("a doubt");
    assert!(
        doubt.starts_with(
            "the journal ends at 7 hits, and the last server had counted 10: 3 are missing"
        ),
        "{doubt}"
    );
    // The next start goes on from there; one with less than that again does not.
    let (_, doubt) = begun(data.path(), TODAY, anchor(400, 5_400), 7);
    assert_eq!(doubt, None);
    let (_, doubt) = begun(data.path(), TODAY, anchor(500, 5_500), 6);
    assert!(
        doubt
            .expect("a doubt")
            .contains("had counted 7: 1 is missing")
    );
}

#[test]
fn copied_file_is_noticed_also_when_it_is_written_over_the_old_one() {
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join("lives");
    begun(data.path(), TODAY, anchor(100, 5_100), 0);
    let has_birth_times = fs::metadata(&file).is_ok_and(|file| file.created().is_ok());
    let copy = fs::read(&file).expect("a file");
    let birth = || fs::metadata(&file).and_then(|file| file.created()).ok();
    let first = birth();
    // File systems look at the clock some hundred times a second.
    for turn in 0.. {
        let (_, doubt) = begun(data.path(), TODAY, anchor(300, 5_300), 7);
        assert_eq!(doubt, None, "the file is the one that was written");
        if birth() != first || !has_birth_times {
            break;
        }
        assert!(turn < 10_000, "birth times stand still");
    }
    fs::write(&file, &copy).expect("it can be written");
    let (_, doubt) = begun(data.path(), TODAY, anchor(400, 5_400), 0);
    let is_noticed = doubt.is_some_and(|doubt| doubt.contains("was copied or restored"));
    assert_eq!(is_noticed, has_birth_times);
    // A directory that is moved as a whole is no copy.
    let moved = data.path().with_extension("moved");
    fs::rename(data.path(), &moved).expect("it can be moved");
    let (_, doubt) = begun(&moved, TODAY, anchor(500, 5_500), 0);
    fs::rename(&moved, data.path()).expect("it can be moved back");
    assert_eq!(doubt, None);
}

#[test]
fn no_file_however_corrupt_keeps_a_life_from_beginning() {
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join("lives");
    let (mut lives, _) = begun(data.path(), TODAY, anchor(100, 5_100), 5);
    let sound = fs::read(&file).expect("a file");
    let broken = |make: &dyn Fn()| {
        make();
        let (lives, doubt) = begun(data.path(), TODAY, anchor(300, 5_300), 7);
        assert_eq!((lives.list.len(), doubt), (1, None));
        assert_eq!(
            lives.gaps(anchor(400, 5_400)).known_from,
            Stamp::from_ns(300)
        );
    };
    for place in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[place] ^= 1;
        broken(&|| fs::write(&file, &bytes).expect("it can be written"));
        if !sound[..place].ends_with(b"\n") {
            broken(&|| fs::write(&file, &sound[..place]).expect("it can be written"));
        }
    }
    broken(&|| fs::write(&file, vec![b'x'; 1 << 20]).expect("it can be written"));
    // Nothing behind a link is read, and nothing there is written.
    let victim = data.path().join("victim");
    fs::write(&victim, &sound).expect("a file");
    broken(&|| {
        fs::remove_file(&file).expect("it was there");
        symlink(&victim, &file).expect("a link");
    });
    assert_eq!(fs::read(&victim).expect("a file"), sound);
    let mode = fs::symlink_metadata(&file)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    // A replacement that was not finished, and no room for one.
    fs::write(data.path().join("lives.new"), b"half").expect("a file");
    lives.write();
    assert!(!data.path().join("lives.new").exists());
    fs::create_dir(data.path().join("lives.new")).expect("a directory");
    lives.write();
    assert_eq!(Lives::open(data.path(), TODAY).list, lives.list);
    assert!(
        Lives::open(&data.path().join("none"), TODAY)
            .list
            .is_empty()
    );
}

#[test]
fn newest_lives_are_kept() {
    let data = tempfile::tempdir().expect("a directory");
    for start in 0..LIVES_MAX as i64 + 10 {
        let mut lives = Lives::open(data.path(), TODAY);
        lives.begin(anchor(start * 10, start * 10), 0, None);
        lives.end(anchor(start * 10 + 5, start * 10 + 5), 0);
        lives.write();
    }
    let lives = Lives::open(data.path(), TODAY);
    assert_eq!(lives.list.len(), LIVES_MAX);
    assert_eq!(
        lives.gaps(anchor(9_999, 9_999)).known_from,
        Stamp::from_ns(100)
    );
}

#[test]
fn doubt_of_an_earlier_life_lies_on_the_line_of_the_present_boot() {
    let data = tempfile::tempdir().expect("a directory");
    let now = anchor(900, 5_900);
    let (mut lives, _) = begun(data.path(), TODAY, anchor(100, 5_100), 0);
    lives.doubt_until(Stamp::MIN);
    assert_eq!(lives.doubtful_until(now), Stamp::MIN, "that is no doubt");
    lives.doubt_until(Stamp::from_ns(90));
    lives.doubt_until(Stamp::from_ns(80));
    lives.end(anchor(200, 5_200), 3);
    lives.write();
    let read = |boot| Lives::read(data.path(), boot).0.doubtful_until(now);
    assert_eq!(read(TODAY), Stamp::from_ns(90));
    // Another boot asks the wall clock, which showed 5090 then and shows 5900 at 900 now.
    assert_eq!(read(BEFORE), Stamp::from_ns(90));
    let later = anchor(50, 6_000);
    let (lives, _) = Lives::read(data.path(), BEFORE);
    assert_eq!(lives.doubtful_until(later), Stamp::from_ns(-860));
    // A wall clock that was set back cannot put it later than now.
    assert_eq!(lives.doubtful_until(anchor(50, 1)), Stamp::from_ns(50));
    let (lives, _) = begun(data.path(), TODAY, anchor(300, 5_300), 3);
    assert_eq!(lives.doubtful_until(now), Stamp::from_ns(90));
}

#[test]
fn every_start_that_found_hits_missing_stays_known() {
    let data = tempfile::tempdir().expect("a directory");
    for (at, found, counted) in [(100, 0, 5), (200, 3, 9), (300, 9, 9), (400, 8, 8)] {
        let (mut lives, _) = begun(data.path(), TODAY, anchor(at, 5_000 + at), found);
        lives.end(anchor(at + 50, 5_050 + at), counted);
        lives.write();
    }
    let (lives, cause) = Lives::read(data.path(), TODAY);
    assert_eq!(cause, None);
    let losses = lives.losses(anchor(900, 5_900));
    let found: Vec<_> = losses.iter().map(|(at, _)| at.ns()).collect();
    assert_eq!(found, [200, 400]);
    assert!(losses[0].1.contains("ends at 3 hits") && losses[0].1.contains("2 are missing"));
    assert!(losses[1].1.contains("1 is missing"), "{losses:?}");
    assert_eq!(lives.missing(8), None);
    assert!(lives.missing(7).is_some());
}
