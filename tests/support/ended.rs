//! A command that must end: run to its end, and killed with a message when that takes too long.
//!
//! Owns the wait. Must not know what the command does. Invariant: no test waits longer than [`END`] for a
//! process.

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to end before the test fails.
pub const END: Duration = Duration::from_secs(60);

/// A command that is run to its end.
pub trait Ended {
    /// Runs it without standard input, and returns its exit code and what it printed.
    fn ended(&mut self) -> Output;
}

impl Ended for Command {
    #[track_caller]
    fn ended(&mut self) -> Output {
        let child = self
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let shown = format!("{self:?}");
        let child = child.unwrap_or_else(|cause| panic!("cannot run {shown}: {cause}"));
        wait_for(child, &shown)
    }
}

/// Waits for the end of `child` and of what it prints on the pipes it has.
#[track_caller]
pub fn wait_for(mut child: Child, shown: &str) -> Output {
    let until = Instant::now() + END;
    let stdout = all_of(child.stdout.take());
    let stderr = all_of(child.stderr.take());
    let late = |child: &mut Child| -> ! {
        let _ended = child.kill();
        let _ended = child.wait();
        panic!("killed after {END:?}: {shown} does not end");
    };
    let mut texts = [stdout, stderr].map(|pipe| {
        let left = until.saturating_duration_since(Instant::now());
        match pipe.recv_timeout(left) {
            Ok(text) => text,
            Err(RecvTimeoutError::Disconnected) => Vec::new(),
            Err(RecvTimeoutError::Timeout) => late(&mut child),
        }
    });
    let status = loop {
        if let Some(status) = child.try_wait().expect("the process is ours") {
            break status;
        }
        if Instant::now() >= until {
            late(&mut child);
        }
        thread::yield_now();
    };
    let [stdout, stderr] = &mut texts;
    Output {
        status,
        stdout: std::mem::take(stdout),
        stderr: std::mem::take(stderr),
    }
}

/// All that comes of `pipe`; nothing comes of none.
fn all_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut text = Vec::new();
            // What came before an error is what there is.
            let _cut = pipe.read_to_end(&mut text);
            let _late = sender.send(text);
        });
    }
    receiver
}
