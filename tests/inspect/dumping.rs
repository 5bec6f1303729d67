//! A dump whose reader is slow: what is retired meanwhile, and the line of progress.
//!
//! Owns the reader: it reads the first lines, does something, and reads the rest. Until then the dump waits for
//! it within the first segment, which holds more than a pipe and the buffer of a dump.
//!
//! Must not know how a dump goes through a journal. Invariant tested: hits come in their order, none twice,
//! and those that are left out are counted.

use crate::command;
use crate::support::ended::wait_for;
use crate::support::terminal::terminal;
use crate::written::{Written, written};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

const SEGMENTS: u64 = 4;
/// Hits of a segment; as lines they are more than a megabyte.
const HITS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// Ends a line of progress.
const CLEAR: &str = "\r\u{1b}[K";
/// How long a dump draws nothing.
const QUIET: Duration = Duration::from_millis(1_200);

/// What came of a dump: sequence numbers, and standard error.
struct Dumped {
    sequences: Vec<u64>,
    err: String,
}

/// Dumps `written`, and does `meanwhile` when the first lines were read.
fn dumped(written: &Written, meanwhile: impl FnOnce()) -> Dumped {
    let mut command = command(&["dump", "--format", "csv", &written.shown()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut text = String::new();
    for _ in 0..100 {
        out.read_line(&mut text).expect("a line");
    }
    meanwhile();
    out.read_to_string(&mut text).expect("the rest");
    let output = crate::support::ended::wait_for(child, "tallyd dump");
    assert!(output.status.success(), "{output:?}");
    let sequences = text.lines().skip(1).map(|line| {
        let (sequence, _) = line.split_once(',').expect("a sequence number");
        sequence.parse().expect("a number")
    });
    Dumped {
        sequences: sequences.collect(),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Writes another segment over `file`, as a server that recycles it does.
fn recycle(file: &File, by: &Written, number: u64) {
    let bytes = fs::read(by.segment(number)).expect("a segment");
    file.write_all_at(&bytes, 0).expect("a write");
}

#[test]
fn a_file_that_is_recycled_under_a_dump_makes_it_look_again_and_repeats_nothing() {
    let written = written(SEGMENTS, HITS);
    let open = File::options().write(true).open(written.segment(0));
    let open = open.expect("a segment");
    let dumped = dumped(&written, || {
        // The same segment is there, in another file than the dump reads.
        let copy = written.path().join("0000000000000000.seg.aside");
        fs::copy(written.segment(0), &copy).expect("a copy");
        fs::rename(&copy, written.segment(0)).expect("its place");
        recycle(&open, &written, 3);
    });
    assert!(dumped.sequences.iter().copied().eq(0..SEGMENTS * HITS));
    assert_eq!(dumped.err, "");
}

#[test]
fn hits_that_are_retired_before_a_dump_reaches_them_are_left_out_and_counted() {
    let written = written(SEGMENTS, HITS);
    let open = File::options().write(true).open(written.segment(0));
    let open = open.expect("a segment");
    let dumped = dumped(&written, || {
        fs::remove_file(written.segment(0)).expect("a segment");
        fs::remove_file(written.segment(1)).expect("a segment");
        recycle(&open, &written, 3);
    });
    let begun = dumped.sequences.iter().take_while(|it| **it < HITS).count() as u64;
    let expected = (0..begun).chain(2 * HITS..SEGMENTS * HITS);
    assert!(
        dumped.sequences.iter().copied().eq(expected),
        "from {begun} on"
    );
    let gone = 2 * HITS - begun;
    let warning = format!(
        " warn: {}: {gone} hits retired before they were reached\n",
        written.shown()
    );
    assert!(dumped.err.ends_with(&warning), "{}", dumped.err);
    assert_eq!(dumped.err.lines().count(), 1, "{}", dumped.err);
}

/// All that comes of a terminal until nobody has it open any more.
fn seen(mut ours: File) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        // The end of a terminal is an error.
        while let Ok(length @ 1..) = ours.read(&mut piece) {
            text.extend_from_slice(&piece[..length]);
        }
        let _unheard = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    receiver
}

/// Waits for the end of a dump.
fn end(child: Child) {
    assert!(wait_for(child, "tallyd dump").status.success());
}

#[test]
fn progress_is_drawn_on_a_terminal_that_does_not_take_the_dump() {
    let written = written(SEGMENTS, HITS);
    let (theirs, ours) = terminal();
    let drawn = seen(ours.into());
    let mut command = command(&["dump", &written.shown()]);
    command.stdout(Stdio::piped()).stderr(theirs);
    let mut child = command.spawn().expect("it runs");
    // The other end of the terminal is this process's too.
    drop(command);
    let mut text = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    // It has begun.
    out.read_line(&mut text).expect("a line");
    thread::sleep(QUIET);
    out.read_to_string(&mut text).expect("the dump");
    end(child);
    assert_eq!(text.lines().count() as u64, SEGMENTS * HITS);
    assert!(!text.contains(CLEAR));
    let drawn = drawn.recv_timeout(PATIENCE).expect("an end");
    assert!(drawn.starts_with(&format!("{CLEAR}dumping ")), "{drawn:?}");
    assert!(drawn.ends_with(CLEAR), "{drawn:?}");
}

#[test]
fn no_progress_is_drawn_into_a_dump_on_the_same_terminal() {
    let written = written(SEGMENTS, HITS);
    let (theirs, ours) = terminal();
    let mut command = command(&["dump", &written.shown()]);
    command.stdout(theirs.try_clone().expect("a terminal"));
    command.stderr(theirs);
    let child = command.spawn().expect("it runs");
    drop(command);
    let mut ours = File::from(ours);
    // It has begun.
    ours.read_exact(&mut [0]).expect("a byte");
    thread::sleep(QUIET);
    let shown = seen(ours).recv_timeout(PATIENCE).expect("an end");
    end(child);
    assert_eq!(shown.lines().count() as u64, SEGMENTS * HITS);
    assert!(!shown.contains('\u{1b}'), "a bar is drawn");
}
