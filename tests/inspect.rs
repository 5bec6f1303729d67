//! The tools for the shell, `tallyd count | dump | verify | plot`: on live, stopped, killed, damaged,
//! empty and foreign directories, against a server's URL, and at the limits of their parameters.
//!
//! Owns how a tool is run, and the directories it is run on. Every test that looks into a directory
//! compares it before and after: names, lengths, bytes and times must be what they were.
//!
//! Must not know how the tools go about it. Invariant tested: what a tool prints is what the server has
//! counted, or it fails and says why; and nobody notices that it was there.

mod support;

#[path = "inspect/beside.rs"]
mod beside;
#[path = "inspect/damage.rs"]
mod damage;
#[path = "inspect/dumping.rs"]
mod dumping;
#[path = "inspect/flags.rs"]
mod flags;
#[path = "inspect/listeners.rs"]
mod listeners;
#[path = "inspect/look.rs"]
mod look;
#[path = "inspect/moving.rs"]
mod moving;
#[path = "inspect/remote.rs"]
mod remote;
#[path = "inspect/usage.rs"]
mod usage;
#[path = "inspect/written.rs"]
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::SystemTime;
use support::ended::Ended;
use support::server::TALLYD;

/// What a tool did.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// What it printed, given that it had nothing to complain of.
    pub fn printed(self) -> String {
        assert_eq!((self.code, &*self.err), (Some(0), ""), "{self:?}");
        self.out
    }

    /// The number it printed.
    pub fn number(self) -> u64 {
        let out = self.printed();
        let number = out.strip_suffix('\n').expect("a newline at the end");
        number.parse().expect("a number")
    }

    /// What it complained of, given that it printed nothing and failed with `code`.
    pub fn complaint(self, code: i32) -> String {
        assert_eq!((self.code, &*self.out), (Some(code), ""), "{self:?}");
        self.err
    }
}

/// A tool with no more of the environment than it needs.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(TALLYD);
    command.env_clear().env("LC_ALL", "C.UTF-8").args(arguments);
    command
}

/// Runs a tool.
pub fn run(arguments: &[&str]) -> Ran {
    ran(&command(arguments).ended())
}

/// What a tool did that has ended.
pub fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// Everything in a directory that a tool might change: names, bytes, and when they were written.
#[derive(PartialEq, Eq)]
pub struct Seen(BTreeMap<String, (Vec<u8>, SystemTime)>, SystemTime);

/// Everything in `directory`.
pub fn seen(directory: &Path) -> Seen {
    let modified = |path: &Path| {
        path.metadata()
            .and_then(|of| of.modified())
            .expect("a time")
    };
    let files = fs::read_dir(directory).expect("a directory").map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        let bytes = fs::read(entry.path()).expect("a file");
        (name, (bytes, modified(&entry.path())))
    });
    Seen(files.collect(), modified(directory))
}

/// Waits until a server that has just started has noted that, as the last of so many lives, which it does
/// while it serves.
pub fn noted(directory: &Path, lives: usize) {
    let began = std::time::Instant::now();
    let lines = || fs::read_to_string(directory.join("lives")).unwrap_or_default();
    while lines().lines().count() != lives + 1 {
        assert!(
            began.elapsed().as_secs() < 30,
            "no life is noted: {}",
            lines()
        );
        std::thread::yield_now();
    }
}

/// Runs a tool on a directory that must not change, whose path stands last.
pub fn run_on(directory: &Path, arguments: &[&str]) -> Ran {
    let before = seen(directory);
    let path = directory.to_str().expect("a path in UTF-8");
    let ran = run(&[arguments, &[path]].concat());
    assert!(seen(directory) == before, "{arguments:?} changed {path}");
    ran
}
