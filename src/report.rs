//! Log lines and the final error on standard error, the start line on standard output.
//!
//! A server writes them on threads of their own. The thread that logs formats the line and puts it into a
//! bounded queue; when the queue is full, because standard error is a full pipe, a stopped terminal or a slow
//! disk, the line is dropped and counted, and the next line that is written says how many were. A command of
//! the shell ([`start`] without [`start_queue`]) writes its lines directly.
//!
//! `O_NONBLOCK` is not used: it belongs to the open file description, which the shell and other processes share.
//!
//! What the libraries below us log is left out: whatever of it matters is logged by us. Control characters in
//! a line are escaped, so that a file name cannot forge a line or send a sequence to the terminal.
//!
//! Must not know who logs. Invariants: with the queue started, no caller ever blocks on a write; memory is at
//! most `LINES_MAX` lines of `LINE_BYTES_MAX` bytes, and a note each.

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::notation::{self, many};
use crossbeam_channel::{Receiver, Sender, bounded};
use log::{LevelFilter, Log, Metadata, Record};
use nix::sys::signal::{SigSet, Signal};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};
use std::time::Duration;

/// Lines that may wait to be written.
const LINES_MAX: usize = 64;
/// Bytes of a line, its newline included. A pipe takes as many in one piece, so lines of several processes
/// do not mix.
const LINE_BYTES_MAX: usize = 4096;
/// How often and how long a flush waits for standard error: 200 ms in all.
const FLUSH_TRIES: u32 = 200;
const FLUSH_PAUSE: Duration = Duration::from_millis(1);
/// How long to wait when a descriptor that somebody else has made non-blocking takes nothing.
const RETRY: Duration = Duration::from_millis(10);

static REPORT: Report = Report::new();

/// The way to standard error.
struct Report {
    /// To the writing thread, once there is one.
    queue: OnceLock<Sender<String>>,
    /// Lines dropped since the last one that was queued.
    dropped: AtomicUsize,
    /// Lines queued so far, and how many of them the thread is done with.
    queued: AtomicUsize,
    done: AtomicUsize,
}

impl Report {
    const fn new() -> Self {
        Self {
            queue: OnceLock::new(),
            dropped: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
        }
    }

    /// Writes or queues a line.
    fn put(&self, text: fmt::Arguments<'_>) {
        let text = line(text);
        let Some(queue) = self.queue.get() else {
            let _nobody_reads = write_full(io::stderr(), text.as_bytes());
            return;
        };
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        self.queued.fetch_add(1, Ordering::Relaxed);
        if queue.try_send(note(dropped) + &text).is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }

    /// Waits until the lines so far are written, at most for `FLUSH_TRIES`; whether they are.
    fn wait(&self) -> bool {
        let queued = self.queued.load(Ordering::Relaxed);
        let done = || self.done.load(Ordering::Acquire);
        within_limit(|| done().wrapping_sub(queued).cast_signed() >= 0)
    }

    /// Writes what is queued to `out` for as long as the queue is there.
    fn run(&self, lines: &Receiver<String>, out: impl AsFd) {
        let mut writer = Writer {
            out,
            lost: 0,
            is_torn: false,
        };
        loop {
            if lines.is_empty() {
                // Nothing may follow for hours: what was dropped is reported now.
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    writer.write(&note(dropped));
                }
            }
            let Ok(text) = lines.recv() else {
                return;
            };
            writer.write(&text);
            self.done.fetch_add(1, Ordering::Release);
        }
    }
}

/// Waits until `is_done`, at most for `FLUSH_TRIES`; whether it is.
pub fn within_limit(is_done: impl Fn() -> bool) -> bool {
    for _ in 0..FLUSH_TRIES {
        if is_done() {
            return true;
        }
        thread::sleep(FLUSH_PAUSE);
    }
    false
}

/// A line that says how many are missing, if any are.
fn note(missing: usize) -> String {
    if missing == 0 {
        return String::new();
    }
    let lines = many(missing as u64, "log line");
    let cause = "standard error was blocked";
    line(format_args!("{} warn: dropped {lines}: {cause}", now()))
}

/// Writes lines in one piece each.
struct Writer<O> {
    out: O,
    /// Lines that could not be written since the last that could.
    lost: usize,
    /// Whether part of a line was written and not its end.
    is_torn: bool,
}

impl<O: AsFd> Writer<O> {
    fn write(&mut self, text: &str) {
        let end = if self.is_torn { "\n" } else { "" };
        let piece = end.to_owned() + &note(self.lost) + text;
        match write_full(&self.out, piece.as_bytes()) {
            Ok(()) => (self.lost, self.is_torn) = (0, false),
            Err(written) => {
                self.lost += 1;
                self.is_torn |= written > 0;
            }
        }
    }
}

/// `text` as a line: bounded, and with control characters escaped.
fn line(text: fmt::Arguments<'_>) -> String {
    let mut line = String::new();
    for letter in text.to_string().chars() {
        let mut escaped = letter.escape_default();
        let is_long = line.len() + escaped.len() > LINE_BYTES_MAX - "...\n".len();
        if is_long {
            line.push_str("...");
            break;
        }
        if letter.is_control() {
            line.extend(escaped.by_ref());
        } else {
            line.push(letter);
        }
    }
    line.push('\n');
    line
}

/// Writes all of `bytes`, past the buffers and locks of the standard library; else says how many were written.
fn write_full(out: impl AsFd, bytes: &[u8]) -> std::result::Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(&out, &bytes[written..]) {
            Ok(count) if count > 0 => written += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => thread::sleep(RETRY),
            Ok(_) | Err(_) => return Err(written),
        }
    }
    Ok(())
}

/// Lets the calling thread write to a terminal that stops background processes which do (`stty tostop`).
fn allow_background_output() {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTTOU);
    let _then_it_stops = stop.thread_block();
}

fn now() -> String {
    notation::instant(SystemClock.wall_ns())
}

impl Log for Report {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(env!("CARGO_PKG_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            self.put(format_args!("{} {level}: {}", now(), record.args()));
        }
    }

    fn flush(&self) {
        let _in_time = self.wait();
    }
}

/// From here on, what is logged is written.
pub fn start() {
    if log::set_logger(&REPORT).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// From here on, lines are queued for a thread that writes them, and panics are logged.
///
/// # Errors
/// The kernel gives no thread.
pub fn start_queue() -> Result<()> {
    let (queue, items) = bounded(LINES_MAX);
    let run = move || {
        allow_background_output();
        REPORT.run(&items, io::stderr());
    };
    let spawned = Builder::new().name("log".to_owned()).spawn(run);
    spawned.map_err(|cause| Error::io("start thread", "log", cause))?;
    if REPORT.queue.set(queue).is_ok() {
        panic::set_hook(Box::new(|panic| {
            let thread = thread::current();
            let name = thread.name().unwrap_or("without a name");
            // The standard library puts the place and the message on two lines.
            let panic = panic.to_string().replace('\n', " ");
            log::error!("thread {name} {panic}");
        }));
    }
    Ok(())
}

/// Writes the error that the process ends with.
pub fn error(error: &Error) {
    REPORT.put(format_args!("tallyd: {error}"));
}

/// Waits until everything is written, but not for long; whether it is.
pub fn flush() -> bool {
    REPORT.wait()
}

/// Writes `text` as a line to standard output. This may block.
pub fn print(text: &str) {
    allow_background_output();
    // Nobody may be reading standard output; that keeps no server from serving.
    let _nobody_reads = write_full(io::stdout(), line(format_args!("{text}")).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};

    /// A queue that nobody but the test knows, and its receiving end.
    fn report() -> (&'static Report, Receiver<String>) {
        let report = Box::leak(Box::new(Report::new()));
        let (queue, items) = bounded(LINES_MAX);
        report.queue.set(queue).expect("it is new");
        (report, items)
    }

    /// A pipe that takes no byte more, and how many it holds.
    fn full_pipe() -> (PipeReader, PipeWriter, usize) {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let (reader, mut writer) = pipe().expect("a pipe");
        let flags = fcntl_getfl(&writer).expect("flags");
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("a flag");
        let mut filled = 0;
        while writer.write(b".").is_ok() {
            filled += 1;
        }
        fcntl_setfl(&writer, flags).expect("a flag");
        (reader, writer, filled)
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_and_the_next_that_is_written_says_how_many() {
        const LINES: usize = 1000;
        let (report, items) = report();
        let (reader, writer, filled) = full_pipe();
        let writing = thread::spawn(move || report.run(&items, writer));
        for number in 0..LINES {
            report.put(format_args!("line {number}"));
        }
        assert!(!report.wait(), "nothing can be written yet");
        let mut reader = BufReader::new(reader);
        reader.read_exact(&mut vec![0; filled]).expect("dots");
        let (mut seen, mut dropped, mut next) = (0, 0, 0);
        for line in reader.lines() {
            let line = line.expect("text");
            if let Some((_, number)) = line.split_once("warn: dropped ") {
                let (number, rest) = number.split_once(' ').expect("a number");
                assert_eq!(rest, "log lines: standard error was blocked");
                let number: usize = number.parse().expect("a number");
                (dropped, next) = (dropped + number, next + number);
            } else {
                assert_eq!(
                    line,
                    format!("line {next}"),
                    "a gap stands where it is told"
                );
                (seen, next) = (seen + 1, next + 1);
            }
            if next == LINES {
                break;
            }
        }
        assert_eq!(seen + dropped, LINES);
        assert!((LINES_MAX..LINES_MAX + 2).contains(&seen), "{seen}");
        assert!(!writing.is_finished());
    }

    #[test]
    fn a_line_that_nobody_can_read_is_dropped_and_the_thread_goes_on() {
        let (report, items) = report();
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let writing = thread::spawn(move || report.run(&items, writer));
        for _ in 0..2 {
            report.put(format_args!("broken pipe"));
            assert!(report.wait());
        }
        assert!(!writing.is_finished());
    }

    #[test]
    fn what_a_full_device_has_torn_is_ended_before_the_next_line() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut writer = Writer {
            out: file.try_clone().expect("a descriptor"),
            lost: 4,
            is_torn: true,
        };
        writer.write("whole\n");
        assert_eq!((writer.lost, writer.is_torn), (0, false));
        let mut said = String::new();
        io::Seek::rewind(&mut file).expect("a file");
        file.read_to_string(&mut said).expect("text");
        let (torn, rest) = said.split_once('\n').expect("a newline");
        assert_eq!(torn, "");
        assert!(
            rest.ends_with("Z warn: dropped 4 log lines: standard error was blocked\nwhole\n"),
            "{rest}"
        );
    }

    #[test]
    fn a_line_is_bounded_and_sends_no_sequence_to_a_terminal() {
        assert_eq!(
            line(format_args!("{}", "a\nb\u{1b}[31m\u{9b}é")),
            "a\\nb\\u{1b}[31m\\u{9b}é\n"
        );
        for letter in ["x", "é", "\n"] {
            let long = line(format_args!("{}", letter.repeat(2 * LINE_BYTES_MAX)));
            assert!(long.len() <= LINE_BYTES_MAX && long.ends_with("...\n"));
        }
    }
}
