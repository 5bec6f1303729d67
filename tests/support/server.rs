//! A real server: the binary under test as a process of its own, on a port of its own.
//!
//! Owns starting, signalling and ending it, and asking for what it has left. The port is 0 and is read from the line that the server
//! prints once it serves, so that nothing has to be waited for. What it says on standard error is
//! kept and comes with its end.
//!
//! Must not know what is tested. Invariant: no process outlives the value that started it.

use super::ended::Ended;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tallyd::stamp::Stamp;

/// The binary under test.
pub const TALLYD: &str = env!("CARGO_BIN_EXE_tallyd");
/// How long a server may take to start or to end before the test fails.
const END: Duration = Duration::from_secs(30);

/// A server that runs.
pub struct Server {
    child: Child,
    /// What it prints on standard output, line by line.
    printed: Receiver<String>,
    /// What it says on standard error, line by line.
    lines: Receiver<String>,
    /// Those that have been heard.
    said: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where operators ask, if anywhere.
    pub operator: Option<SocketAddr>,
    /// The line it printed at start.
    pub start_line: String,
}

impl Server {
    /// Starts one on the journal in `data`; its window is an hour unless `flags` say otherwise, so
    /// that nothing expires while a test runs.
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(TALLYD);
        command
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        if !flags.contains(&"--operator") {
            command.args(["--operator", "none"]);
        }
        if !flags.iter().any(|flag| flag.starts_with("--window")) {
            command.args(["--window", "1h"]);
        }
        command.args(flags);
        Self::spawn(command)
    }

    /// Starts one by `command`, which must lead to a server on port 0.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::piped())
    }

    /// The same, with another standard error.
    pub fn spawn_with(mut command: Command, stderr: Stdio) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the server starts");
        // Whoever holds the other end of its standard error may wait for it to be closed.
        drop(command);
        let printed = lines_of(child.stdout.take().expect("its output"));
        let lines = child.stderr.take().map_or_else(|| channel().1, lines_of);
        let start_line = match printed.recv_timeout(END) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => String::new(),
            Err(RecvTimeoutError::Timeout) => {
                let _ended = child.kill();
                let said: String = lines.iter().collect();
                panic!("no start line within {END:?}, said {said:?}");
            }
        };
        let address = start_line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split(',').next())
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            if !start_line.is_empty() {
                let _ended = child.kill();
            }
            let status = child.wait();
            let said: String = lines.iter().collect();
            panic!("no server: {status:?}, printed {start_line:?}, said {said:?}");
        };
        let operator = start_line
            .split("operator on ")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .map(|address| address.parse().expect("an address"));
        Self {
            child,
            printed,
            lines,
            said: String::new(),
            address,
            operator,
            start_line,
        }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there");
    }

    /// Stops all of its threads, as they are, until it gets CONT.
    pub fn hold(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid().as_raw_pid());
        let is_held = || {
            std::fs::read_dir(&tasks).expect("its threads").all(|task| {
                // A thread that has ended meanwhile stands still too.
                let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat")));
                stat.map_or(true, |stat| {
                    let state = stat.rsplit_once(") ");
                    state.is_some_and(|(_, state)| state.starts_with('T'))
                })
            })
        };
        let began = Instant::now();
        while !is_held() {
            assert!(began.elapsed() < END, "it does not stand still");
            std::thread::yield_now();
        }
    }

    /// Waits until it says a line with `text` in it, which is returned.
    pub fn hear(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(END);
            let line = line.unwrap_or_else(|_| panic!("no word of {text:?}: {}", self.said));
            self.said += &line;
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("the process ends");
    }

    /// Ends it by TERM, asserts that it ended well, and returns what it said on standard error before its last
    /// line, which says how many hits it counted.
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, said) = self.ended();
        assert!(status.success(), "{status}, said {said}");
        let before = said.trim_end().rfind('\n').map_or(0, |end| end + 1);
        let (before, last) = said.split_at(before);
        assert!(last.contains(": stopped: counted "), "{said}");
        before.to_owned()
    }

    /// Waits for its end; all that it said on standard error comes with it.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                break status;
            }
            assert!(began.elapsed() < END, "still running");
            std::thread::yield_now();
        };
        let rest: String = self.printed.iter().collect();
        assert_eq!(rest, "", "one line at start is all it prints");
        self.said.extend(self.lines.iter());
        (status, std::mem::take(&mut self.said))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already in most tests; in a failed one it must not stay.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The lines that come of `pipe`, each with its end.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = channel();
    std::thread::spawn(move || {
        for said in BufReader::new(pipe).lines().map_while(Result::ok) {
            // A test that has ended listens no more.
            let _unheard = line.send(said + "\n");
        }
    });
    lines
}

/// Stamps of all hits in the journal in `data`, oldest first, as its own tool dumps them.
pub fn stamps(data: &Path) -> Vec<Stamp> {
    let output = Command::new(TALLYD)
        .args(["dump", "--format", "csv"])
        .arg(data)
        .ended();
    let text = String::from_utf8(output.stdout).expect("text");
    let stamp_of = |line: &str| line.rsplit(',').next().and_then(|ns| ns.parse().ok());
    text.lines()
        .skip(1)
        .map(|line| Stamp::from_ns(stamp_of(line).expect("a stamp")))
        .collect()
}
