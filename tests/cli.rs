//! What a wrong command line or a bad data directory gets: a message that names it, and an exit code.
//!
//! Owns the words and codes as a user sees them, on the real binary.
//!
//! Must not know how they come about. Invariant: a usage error is 2, any other failure is 1, and each
//! says one line.

mod support;

use rustix::process::{Resource, Rlimit, prlimit};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::client::{Client, GET, hit};
use support::server::{Server, TALLYD};

/// Runs `tallyd` with `flags` and returns its exit code and what it said on standard error.
fn run(flags: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(TALLYD).args(flags).output().expect("it runs");
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
fn a_usage_error_exits_2_and_names_flag_value_and_limit() {
    let (code, said) = run(&["--window", "0s"]);
    assert_eq!(
        said,
        "tallyd: --window: 0s is too short, at least 1ms is required\n"
    );
    assert_eq!(code, Some(2));
}

#[test]
fn a_bad_variable_is_named_like_a_flag() {
    let output = Command::new(TALLYD)
        .env("TALLYD_WORKERS", "none")
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    let expected = "tallyd: TALLYD_WORKERS: 'none' is no whole number from 1 to 256\n";
    assert_eq!((output.status.code(), &*said), (Some(2), expected));
}

#[test]
fn help_and_version_go_to_standard_output_and_exit_0() {
    for (flag, begin) in [
        ("--help", "tallyd answers every HTTP request"),
        ("-V", "tallyd 0."),
    ] {
        let output = Command::new(TALLYD).arg(flag).output().expect("it runs");
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
    // Not even root can create a file in /proc.
    let (code, said) = run_in(Path::new("/proc"));
    assert!(
        said.starts_with("tallyd: cannot open /proc/lock: "),
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
        lines[1].ends_with(" warn: counting again; 3 hits were refused so far"),
        "{said}"
    );
    let server = Server::start(data.path(), &[]);
    assert_eq!(hit(server.address), 2);
    server.stop();
}
