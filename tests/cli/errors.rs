//! Every error of the command line: the whole line and the exit code, for a cause that a user can bring about.
//!
//! Owns one row for each wrong use. `messages.rs` finds the messages that have none.
//!
//! Must not know where a message is made. Invariant: a usage error exits with 2 and one line.

use crate::support::ended::Ended;
use crate::support::server::TALLYD;
use std::fs;
use std::process::{Command, Stdio};

/// Arguments, variables and the whole message of a usage error.
type Row = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// Wrong uses of the server's flags and variables.
const OF_SERVER: [Row; 37] = [
    (
        &["--window", "0s"],
        &[],
        "--window: 0s is too short, at least 1ms is required",
    ),
    (
        &["--window", "60"],
        &[],
        "--window: '60' is no duration such as 60s or 250ms: time unit needed, for example 60sec or 60ms",
    ),
    (
        &["--window", "x"],
        &[],
        "--window: 'x' is no duration such as 60s or 250ms: expected number at 0",
    ),
    (
        &["--window", "6000y"],
        &[],
        "--window: '6000y' is no duration such as 60s or 250ms: more than 584 years",
    ),
    (
        &["--sync", "2days"],
        &[],
        "--sync: 2days is too long, at most 86400s is allowed",
    ),
    (
        &["--sync", "sometimes"],
        &[],
        "--sync: 'sometimes' is no duration such as 60s or 250ms: expected number at 0",
    ),
    (
        &["--retain", "10s"],
        &[],
        "--retain: 10s is shorter than the window, 60s",
    ),
    (
        &["--workers", "0"],
        &[],
        "--workers: '0' is no whole number from 1 to 256",
    ),
    (
        &["--workers", "-1"],
        &[],
        "--workers: '-1' is no whole number from 1 to 256",
    ),
    (
        &["--workers", "1.5"],
        &[],
        "--workers: '1.5' is no whole number from 1 to 256",
    ),
    (
        &["--front", "x"],
        &[],
        "--front: 'x' is no front, there are: pool, tiny-http",
    ),
    (
        &["--listen", "8080"],
        &[],
        "--listen: '8080' is no address, HOST:PORT is required",
    ),
    (
        &["--listen", ":8080"],
        &[],
        "--listen: ':8080' is no address, HOST:PORT is required",
    ),
    (
        &["--listen", "a:70000"],
        &[],
        "--listen: 'a:70000' is no address, HOST:PORT is required",
    ),
    (
        &["--operator", "8081"],
        &[],
        "--operator: '8081' is no address, HOST:PORT is required",
    ),
    (
        &["--admin-host", "a:80"],
        &[],
        "--admin-host: invalid host name 'a:80': expected names without a port, separated by commas, or '*'",
    ),
    (
        &["--admin-host", "a,,b"],
        &[],
        "--admin-host: invalid host name '': expected names without a port, separated by commas, or '*'",
    ),
    (
        &["--admin-host", "http://a"],
        &[],
        "--admin-host: invalid host name 'http://a': expected names without a port, separated by commas, or '*'",
    ),
    (
        &["--admin-host", "a b"],
        &[],
        "--admin-host: invalid host name 'a b': expected names without a port, separated by commas, or '*'",
    ),
    (
        &["--stamp", "boot"],
        &[],
        "--stamp: 'boot' is none of these: read, kernel",
    ),
    (
        &["--stamp", "kernel", "--front", "tiny-http"],
        &[],
        "--stamp: only the pool front has kernel stamps",
    ),
    (&["--data", ""], &[], "--data: a directory must have a name"),
    (&["--window"], &[], "--window: a value is missing: DURATION"),
    (
        &["--listen"],
        &[],
        "--listen: a value is missing: HOST:PORT",
    ),
    (
        &["--window=1s", "--window=2s"],
        &[],
        "--window: given twice",
    ),
    (
        &["--colour", "red"],
        &[],
        "--colour: no such flag; tallyd --help lists them",
    ),
    (
        &["--colo\u{1b}ur"],
        &[],
        r"--colo\u{1b}ur: no such flag; tallyd --help lists them",
    ),
    (&["-x"], &[], "-x: no such flag; tallyd --help lists them"),
    (
        &["frob"],
        &[],
        "frob: no such command; tallyd --help says more",
    ),
    (
        &["--window", "5s", "count"],
        &[],
        "--window: stands before the command, which comes first",
    ),
    (
        &[],
        &[("TALLYD_WORKERS", "none")],
        "TALLYD_WORKERS: 'none' is no whole number from 1 to 256",
    ),
    (
        &[],
        &[("TALLYD_SYNC", "1us")],
        "TALLYD_SYNC: 1us is too short, at least 1ms is required",
    ),
    (
        &[],
        &[("TALLYD_RETAIN", "10s")],
        "TALLYD_RETAIN: 10s is shorter than the window, 60s",
    ),
    (
        &[],
        &[("TALLYD_LISTEN", "a")],
        "TALLYD_LISTEN: 'a' is no address, HOST:PORT is required",
    ),
    (
        &[],
        &[("TALLYD_STAMP", "x")],
        "TALLYD_STAMP: 'x' is none of these: read, kernel",
    ),
    (
        &[],
        &[("TALLYD_FRONT", "x")],
        "TALLYD_FRONT: 'x' is no front, there are: pool, tiny-http",
    ),
    (&["-xV"], &[], "-x: no such flag; tallyd --help lists them"),
];

/// Wrong uses of the commands.
const OF_COMMANDS: [Row; 44] = [
    (
        &["count", "--window", "0s"],
        &[],
        "--window: 0s is too short, at least 1ms is required",
    ),
    (
        &["count", "--window", "367days"],
        &[],
        "--window: 367days is too long, at most 31622400s is allowed",
    ),
    (
        &["count", "--window", "60"],
        &[],
        "--window: '60' is no duration such as 60s or 250ms: time unit needed, for example 60sec or 60ms",
    ),
    (
        &["count"],
        &[("TALLYD_WINDOW", "0s")],
        "TALLYD_WINDOW: 0s is too short, at least 1ms is required",
    ),
    (
        &["count", "--window"],
        &[],
        "--window: a value is missing: DURATION",
    ),
    (
        &["count", "--window=1s", "--window=1s"],
        &[],
        "--window: given twice",
    ),
    (
        &["count", "--from", "now"],
        &[],
        "--from: invalid time 'now': expected RFC 3339 such as 2026-11-27T00:00:00Z, or epoch seconds",
    ),
    (
        &["count", "--from", "2026-02-30T00:00:00Z"],
        &[],
        "--from: invalid time '2026-02-30T00:00:00Z': there is no such day",
    ),
    (
        &["count", "--from", "2026-02-20T24:00:01Z"],
        &[],
        "--from: invalid time '2026-02-20T24:00:01Z': there is no such time of day",
    ),
    (
        &["count", "--from", "2026-02-20T00:00:00+24:00"],
        &[],
        "--from: invalid time '2026-02-20T00:00:00+24:00': an offset lies between -23:59 and +23:59",
    ),
    (
        &["count", "--from", "0.1234567890"],
        &[],
        "--from: invalid time '0.1234567890': a second has at most nine digits",
    ),
    (
        &["count", "--from", "2263-01-01T00:00:00Z"],
        &[],
        "--from: invalid time '2263-01-01T00:00:00Z': it must lie between the years 1677 and 2262",
    ),
    (
        &["count", "--from"],
        &[],
        "--from: a value is missing: INSTANT",
    ),
    (
        &["count", "--to", "2026-11-23T20:08:59Z"],
        &[],
        "--to: needs --from",
    ),
    (
        &["count", "--window=1s", "--from=2026-11-23T20:08:59Z"],
        &[],
        "--window: not together with --from and --to",
    ),
    (
        &[
            "count",
            "--from=2026-11-23T20:08:59.000000001Z",
            "--to=2026-11-23T20:08:59Z",
        ],
        &[],
        "--from: later than --to",
    ),
    (
        &[
            "dump",
            "--from=2026-11-23T20:08:59.000000001Z",
            "--to=2026-11-23T20:08:59Z",
        ],
        &[],
        "--from: later than --to",
    ),
    (
        &["count", "--format", "csv"],
        &[],
        "--format: no such flag; tallyd count --help lists them",
    ),
    (
        &["count", "-x"],
        &[],
        "-x: no such flag; tallyd count --help lists them",
    ),
    (&["count", ""], &[], "a directory must have a name"),
    (
        &["count", "https://a"],
        &[],
        "https://a: only http:// is spoken",
    ),
    (
        &["count", "http://"],
        &[],
        "http://: no URL such as http://127.0.0.1:8081",
    ),
    (
        &["count", "http://a/count"],
        &[],
        "http://a/count: no URL such as http://127.0.0.1:8081",
    ),
    (
        &["count", "http://a b"],
        &[],
        "http://a b: no URL such as http://127.0.0.1:8081",
    ),
    (
        &["count", "http://a@b"],
        &[],
        "http://a@b: no URL such as http://127.0.0.1:8081",
    ),
    (
        &["count", "http://a:70000"],
        &[],
        "http://a:70000: no port from 0 to 65535 stands behind the colon",
    ),
    (
        &["dump", "--format", "xml"],
        &[],
        "--format: 'xml' is no format, there are: text, csv, json, raw",
    ),
    (
        &["dump", "http://a"],
        &[],
        "http://a: a directory is required, not a URL",
    ),
    (
        &["verify", "http://a"],
        &[],
        "http://a: a directory is required, not a URL",
    ),
    (&["dump", "a", "b"], &[], "b: tallyd dump takes one [DIR]"),
    (
        &["verify", "--window=1s"],
        &[],
        "--window: no such flag; tallyd verify --help lists them",
    ),
    (
        &["verify", "a", "b"],
        &[],
        "b: tallyd verify takes one [DIR]",
    ),
    (
        &["plot", "a", "b"],
        &[],
        "b: tallyd plot takes one [DIR|URL]",
    ),
    (
        &["plot", "--step", "7s"],
        &[],
        "--step: 7s does not divide the window, 60s",
    ),
    (
        &["plot", "--step", "2m"],
        &[],
        "--step: 120s does not divide the window, 60s",
    ),
    (
        &["plot", "--window=100s", "--step=5ms"],
        &[],
        "--step: 5ms makes 20000 steps, at most 10000 are allowed",
    ),
    (&["plot", "--times", "2"], &[], "--times: needs --watch"),
    (
        &["plot", "--watch", "--times", "0"],
        &[],
        "--times: '0' is no whole number from 1 to 1000000",
    ),
    (
        &["clock", "a"],
        &[],
        "a: tallyd clock takes no operand; --data says where",
    ),
    (
        &["completions"],
        &[],
        "tallyd completions: a shell is missing, there are: bash, zsh, fish",
    ),
    (
        &["completions", "csh"],
        &[],
        "csh: no completions for it, there are: bash, zsh, fish",
    ),
    (
        &["completions", "bash", "zsh"],
        &[],
        "zsh: tallyd completions takes no more",
    ),
    (&["man", "1"], &[], "1: tallyd man takes no more"),
    (
        &["plot", "--watch=yes"],
        &[],
        "command line: unexpected argument for option '--watch': \"yes\"",
    ),
];

/// The exit code of a run that prints nothing, and what it says on standard error.
fn said(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(TALLYD);
    command.env_clear().envs(variables.iter().copied());
    let output = command.args(arguments).ended();
    assert_eq!(output.stdout, b"", "{arguments:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), said)
}

#[test]
fn every_usage_error_exits_2_with_one_line_that_names_flag_value_and_limit() {
    for (arguments, variables, message) in OF_SERVER.iter().chain(&OF_COMMANDS) {
        let expected = (Some(2), format!("tallyd: {message}\n"));
        let said = said(arguments, variables);
        assert_eq!(said, expected, "{arguments:?} {variables:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_named_as_such() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bytes = OsStr::from_bytes(b"6\xff0s");
    let output = Command::new(TALLYD).arg("--window").arg(bytes).ended();
    let said = String::from_utf8(output.stderr).expect("text");
    let expected = "tallyd: --window: 6\u{fffd}0s is not valid UTF-8\n";
    assert_eq!((output.status.code(), &*said), (Some(2), expected));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let data = tempfile::tempdir().expect("a directory");
    fs::write(data.path().join("lock"), "").expect("a file");
    let shown = data.path().to_str().expect("text");
    for arguments in [&["--help"][..], &["-V"], &["man"], &["count", shown]] {
        let full = fs::File::options().write(true).open("/dev/full");
        let mut command = Command::new(TALLYD);
        command.args(arguments).stdout(full.expect("a device"));
        command.stderr(Stdio::piped()).stdin(Stdio::null());
        let child = command.spawn().expect("it runs");
        let output = crate::support::ended::wait_for(child, "tallyd");
        let said = String::from_utf8(output.stderr).expect("text");
        let expected = "tallyd: cannot write to standard output: no space left on device\n";
        assert_eq!(
            (output.status.code(), &*said),
            (Some(1), expected),
            "{arguments:?}"
        );
    }
}
