//! What a wrong command line or a bad data directory gets: a message that names it, and an exit code.
//!
//! Owns the words and codes as a user sees them, on the real binary.
//!
//! Must not know how they come about. Invariant: a usage error is 2, any other failure is 1, and each
//! says one line.

mod support;

#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/flags.rs"]
mod flags;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/start_line.rs"]
mod start_line;
#[allow(dead_code, reason = "the tests of the tools use more of it")]
#[path = "inspect/written.rs"]
mod written;

use rustix::process::{Resource, Rlimit, prlimit};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::client::{Client, GET, hit};
use support::ended::Ended;
use support::server::{Server, TALLYD};

/// Runs `tallyd` with `flags` and returns its exit code and what it said on standard error.
fn run(flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(TALLYD).args(flags).ended();
    assert!(output.stdout.is_empty(), "{output:?}");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("text"),
    )
}

fn run_in(data: &Path) -> (Option<i32>, String) {
    run(&[
        "--listen",
        "127.0.0.1:0",
        "--operator",
        "none",
        "--data",
        data.to_str().expect("a path in UTF-8"),
    ])
}

#[test]
fn help_and_version_go_to_standard_output_and_exit_0() {
    for (flag, begin) in [
        ("--help", "tallyd answers every HTTP request"),
        ("-V", "tallyd 0."),
    ] {
        let output = Command::new(TALLYD).arg(flag).ended();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert!(
            String::from_utf8_lossy(&output.stdout).starts_with(begin),
            "{output:?}"
        );
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let data = tempfile::tempdir().expect("a directory");
    let data = data.path().to_str().expect("a path in UTF-8");
    let (code, said) = run(&["--listen", &address, "--data", data]);
    assert_eq!(
        said,
        format!("tallyd: cannot bind {address}: address already in use\n")
    );
    assert_eq!(code, Some(1));
}

/// What is in `directory`, names and contents.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_start_that_cannot_bind_creates_and_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let here = tempfile::tempdir().expect("a directory");
    let (empty, used) = (here.path().join("empty"), here.path().join("used"));
    fs::create_dir(&empty).expect("a directory");
    let server = Server::start(&used, &[]);
    assert_eq!(hit(server.address), 1);
    server.kill();
    let before = contents(&used);
    let none = here.path().join("none");
    let deep = none.join("deeper/data");
    for (listen, operator, cause) in [
        (&*taken, "none", "address already in use"),
        ("127.0.0.1:0", &*taken, "address already in use"),
        ("192.0.2.1:0", "none", "cannot assign requested address"),
        (
            "127.0.0.1:0",
            "192.0.2.1:0",
            "cannot assign requested address",
        ),
        (
            "no-such-host.invalid:0",
            "none",
            "failed to lookup address information",
        ),
        (
            "127.0.0.1:0",
            "no-such-host.invalid:0",
            "failed to lookup address information",
        ),
    ] {
        for data in [&none, &deep, &empty, &used] {
            let data = data.to_str().expect("a path in UTF-8");
            let flags = ["--listen", listen, "--operator", operator, "--data", data];
            let (code, said) = run(&flags);
            assert!(
                said.starts_with("tallyd: cannot bind ") && said.contains(cause),
                "{said}"
            );
            assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
        }
        assert!(!none.exists(), "{listen} {operator}");
        assert_eq!(contents(&empty), [], "{listen} {operator}");
        // The process that has held the lock last is named in it.
        let is_lock = |(name, _): &&(String, Vec<u8>)| name != "lock";
        let (before, after) = (before.iter(), contents(&used));
        assert!(
            before.filter(is_lock).eq(after.iter().filter(is_lock)),
            "{listen} {operator}"
        );
    }
}

#[test]
fn a_second_server_by_the_same_command_is_told_who_has_the_journal() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    let address = server.address.to_string();
    let place = data.path().to_str().expect("a path in UTF-8");
    let said = run(&["--listen", &address, "--operator", "none", "--data", place]);
    let pid = server.pid().as_raw_nonzero();
    let expected = format!("tallyd: {place}: data directory is in use by process {pid}\n");
    assert_eq!(said, (Some(1), expected));
    server.stop();
}

#[test]
fn an_empty_variable_is_unset_for_server_and_tools() {
    let data = tempfile::tempdir().expect("a directory");
    let help = Command::new(TALLYD).arg("--help").ended();
    let help = String::from_utf8(help.stdout).expect("text");
    let names: Vec<&str> = help
        .split(|letter: char| !letter.is_ascii_uppercase() && letter != '_')
        .filter(|word| word.starts_with("TALLYD_"))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let mut command = Command::new(TALLYD);
    command
        .args(["--listen", "127.0.0.1:0", "--operator", "none", "--data"])
        .arg(data.path())
        .envs(names.iter().map(|name| (name, "")));
    let server = Server::spawn(command);
    assert!(server.start_line.contains("in the last 60s"));
    assert_eq!(hit(server.address), 1);
    assert_eq!(server.stop(), "");
    let counted = Command::new(TALLYD)
        .args(["count", "--window", "1h"])
        .arg(data.path())
        .envs(names.iter().map(|name| (name, "")))
        .ended();
    assert_eq!(
        (&counted.stdout[..], &counted.stderr[..]),
        (&b"1\n"[..], &b""[..]),
        "{counted:?}"
    );
}

#[test]
fn a_variable_that_is_none_of_ours_is_warned_of_by_server_and_tools() {
    let here = tempfile::tempdir().expect("a directory");
    let data = here.path().join("data");
    let warning = "warn: TALLYD_WIDNOW: ignored, no such variable; did you mean TALLYD_WINDOW?\n";
    let mut command = Command::new(TALLYD);
    command
        .args(["--listen", "127.0.0.1:0", "--operator", "none", "--data"])
        .arg(&data)
        .env("TALLYD_WIDNOW", "10s");
    let server = Server::spawn(command);
    assert_eq!(hit(server.address), 1);
    let said = server.stop();
    assert!(
        said.ends_with(warning) && said.lines().count() == 1,
        "{said}"
    );
    let place = data.to_str().expect("a path in UTF-8");
    for (words, code) in [
        (&["count", place][..], 0),
        (&["dump", place], 0),
        (&["verify", place], 0),
        (&["plot", place], 0),
        (&["clock", "--data", place, "--json"], 0),
        (&["count", "--frob"], 2),
        (&["--frob"], 2),
    ] {
        let mut command = Command::new(TALLYD);
        let output = command.args(words).env("TALLYD_WIDNOW", "10s").ended();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert_eq!(said.matches(warning).count(), 1, "{words:?}: {said}");
    }
    for words in [&["--help"][..], &["-V"], &["man"], &["count", "--help"]] {
        let mut command = Command::new(TALLYD);
        let output = command.args(words).env("TALLYD_WIDNOW", "10s").ended();
        assert_eq!(output.stderr, b"", "{words:?}");
    }
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (code, said) = run_in(file.path());
    let path = file.path().display();
    assert_eq!(
        said,
        format!("tallyd: cannot create data directory {path}: file exists\n")
    );
    assert_eq!(code, Some(1));
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused() {
    // Not even root can create a file in /proc, and nobody tries: it holds files of others.
    let (code, said) = run_in(Path::new("/proc"));
    assert!(
        said.starts_with("tallyd: /proc: holds ") && said.contains("which is not a file of tallyd"),
        "{said}"
    );
    assert_eq!(code, Some(1));
    let (code, said) = run_in(Path::new("/proc/tallyd/data"));
    assert!(
        said.starts_with("tallyd: cannot create data directory /proc/tallyd/data: "),
        "{said}"
    );
    assert_eq!(code, Some(1));
}

#[test]
fn a_segment_of_a_future_version_is_refused_and_left_alone() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    assert_eq!(hit(server.address), 1);
    server.stop();
    let segment = data.path().join("0000000000000000.seg");
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[7] = 2;
    let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes[..60]);
    bytes[60..64].copy_from_slice(&check.to_be_bytes());
    fs::write(&segment, &bytes).expect("a segment");
    let (code, said) = run_in(data.path());
    let path = segment.display();
    let expected = format!("tallyd: {path}: format version 2 is not known, at most 1 is\n");
    assert_eq!((code, said), (Some(1), expected));
    assert_eq!(fs::read(&segment).expect("a segment"), bytes);
}

#[test]
fn damage_is_reported_with_file_and_position_and_the_count_stays_exact() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    for tally in 1..=5 {
        assert_eq!(hit(server.address), tally);
    }
    server.kill();
    let segment = data.path().join("0000000000000000.seg");
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[64 + 8 * 2 + 3] ^= 0x10;
    fs::write(&segment, &bytes).expect("a segment");
    let server = Server::start(data.path(), &[]);
    assert_eq!(hit(server.address), 6);
    let place = format!("{}: record 2 at byte 80: check failed", segment.display());
    let said = server.stop();
    assert!(said.contains(&place), "{said}");
}

#[test]
fn a_full_disk_at_start_refuses_hits_until_there_is_room() {
    // A limit of no bytes on files stands for the full disk: every write fails until it is lifted.
    let data = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -S -f 0; exec \"$@\"", "sh", TALLYD])
        .args(["--listen", "127.0.0.1:0", "--operator", "none", "--data"])
        .arg(data.path());
    let server = Server::spawn(command);
    for _ in 0..3 {
        let mut client = Client::connect(server.address).expect("the server listens");
        let refused = client.ask(GET).expect("an answer");
        assert_eq!(refused.status, 503);
        assert_eq!(
            refused.body,
            "not counted: the disk does not take the record\n"
        );
    }
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(Some(server.pid()), Resource::Fsize, unlimited).expect("the limit can be lifted");
    assert_eq!(hit(server.address), 1);
    let said = server.stop();
    // That it could not note its start is one line, written whenever the attempt was over.
    let is_of_lives = |line: &&str| line.contains("/lives: file too large; ");
    assert_eq!(said.lines().filter(is_of_lives).count(), 1, "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| !is_of_lives(line)).collect();
    assert_eq!(
        lines.len(),
        2,
        "one line when it begins and one when it ends: {said}"
    );
    assert!(
        lines[0].contains(" error: refusing hits: cannot append to "),
        "{said}"
    );
    assert!(
        lines[1].ends_with(" info: counting again; 3 hits were refused so far"),
        "{said}"
    );
    let server = Server::start(data.path(), &[]);
    assert_eq!(hit(server.address), 2);
    server.stop();
}
