//! The command line of the tools: help, limits, and what is wrong with a parameter.
//!
//! Owns the words and codes as a user sees them. Must not know what a tool does. Invariant tested: a
//! usage error is 2 and names flag, value and limit; help fits 80 columns and names every default.

use crate::support::ended::Ended;
use crate::written::written;
use crate::{command, ran, run, run_on};

const TOOLS: [&str; 4] = ["count", "dump", "verify", "plot"];

#[test]
fn help_of_every_command_fits_80_columns_and_names_every_default() {
    let all = run(&["--help"]).printed();
    for tool in TOOLS {
        assert!(all.contains(&format!("\n       tallyd {tool} ")), "{all}");
        let help = run(&[tool, "--help"]).printed();
        assert!(help.starts_with(&format!("tallyd {tool} ")), "{help}");
        assert_eq!(help, run(&[tool, "-h", "--nonsense"]).printed());
        let flags = help.lines().filter(|line| line.starts_with("  --")).count();
        let defaults = help
            .lines()
            .filter(|line| line.starts_with("        [default: "));
        // The directory has one too.
        assert_eq!(defaults.count(), flags + 1, "{help}");
        assert!(flags == 0 || !help.contains("DURATION") || help.contains("unit, such as 250ms"));
        assert!(!help.contains("INSTANT") || help.contains("RFC 3339 with any offset"));
        for line in help.lines().chain(all.lines()) {
            assert!(line.len() <= 80, "{} columns: {line}", line.len());
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_flag_value_and_limit() {
    let rows: [(&[&str], &str); 29] = [
        (
            &["count", "--window", "0s"],
            "--window: 0s is too short, at least 1ms is required",
        ),
        (
            &["count", "--window", "367days"],
            "--window: 367days is too long, at most 31622400s is allowed",
        ),
        (
            &["count", "--window", "60"],
            "--window: '60' is no duration such as 60s or 250ms: time unit needed, for example 60sec or 60ms",
        ),
        (
            &["count", "--window"],
            "--window: a value is missing: DURATION",
        ),
        (
            &["count", "--window=1s", "--window=1s"],
            "--window: given twice",
        ),
        (
            &["count", "--from", "now"],
            "--from: invalid time 'now': expected RFC 3339 such as 2026-11-27T00:00:00Z, or epoch seconds",
        ),
        (&["count", "--from"], "--from: a value is missing: INSTANT"),
        (
            &["count", "--to", "2026-11-23T20:08:59Z"],
            "--to: needs --from",
        ),
        (
            &["count", "--window=1s", "--from=2026-11-23T20:08:59Z"],
            "--window: not together with --from and --to",
        ),
        (
            &[
                "count",
                "--from=2026-11-23T20:08:59.000000001Z",
                "--to=2026-11-23T20:08:59Z",
            ],
            "--from: later than --to",
        ),
        (
            &["count", "--format", "csv"],
            "--format: no such flag; tallyd count --help lists them",
        ),
        (
            &["count", "-x"],
            "-x: no such flag; tallyd count --help lists them",
        ),
        (&["count", ""], "a directory must have a name"),
        (&["count", "https://a"], "https://a: only http:// is spoken"),
        (
            &["count", "http://"],
            "http://: no URL such as http://127.0.0.1:8081",
        ),
        (
            &["count", "http://a/count"],
            "http://a/count: no URL such as http://127.0.0.1:8081",
        ),
        (
            &["count", "http://a b"],
            "http://a b: no URL such as http://127.0.0.1:8081",
        ),
        (
            &["count", "http://a:70000"],
            "http://a:70000: no port from 0 to 65535 stands behind the colon",
        ),
        (
            &["dump", "--format", "xml"],
            "--format: 'xml' is no format, there are: text, csv, json, raw",
        ),
        (
            &["dump", "http://a"],
            "http://a: a directory is required, not a URL",
        ),
        (&["dump", "a", "b"], "b: tallyd dump takes one [DIR]"),
        (
            &["verify", "--window=1s"],
            "--window: no such flag; tallyd verify --help lists them",
        ),
        (&["verify", "a", "b"], "b: tallyd verify takes one [DIR]"),
        (
            &["plot", "--step", "7s"],
            "--step: 7s does not divide the window, 60s",
        ),
        (
            &["plot", "--step", "2m"],
            "--step: 120s does not divide the window, 60s",
        ),
        (
            &["plot", "--window=100s", "--step=5ms"],
            "--step: 5ms makes 20000 steps, at most 10000 are allowed",
        ),
        (&["plot", "--times", "2"], "--times: needs --watch"),
        (
            &["plot", "--watch", "--times", "0"],
            "--times: '0' is no whole number from 1 to 1000000",
        ),
        (
            &["--window", "5s", "count"],
            "--window: stands before the command, which comes first",
        ),
    ];
    for (arguments, message) in rows {
        let said = run(arguments).complaint(2);
        assert!(
            said.starts_with(&format!("tallyd: {message}")),
            "{arguments:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn parameters_at_their_limits_are_taken() {
    let written = written(1, 10);
    let count = |flags: &[&str]| run_on(written.path(), &[&["count"], flags].concat());
    assert!(count(&["--window", "1ms"]).number() <= 10);
    assert_eq!(count(&["--window", "366days"]).number(), 10);
    let limits = [
        "--from",
        "1970-01-01T00:00:00Z",
        "--to",
        "2262-04-11T23:47:16.854775807Z",
    ];
    let limits = count(&limits);
    assert_eq!((limits.code, &*limits.out), (Some(0), "10\n"));
    let present = [
        "--from",
        "2026-11-23T20:08:59Z",
        "--to",
        "2026-11-23T20:08:59Z",
    ];
    assert_eq!(count(&present).number(), 0, "an empty interval is no error");
    for (window, step) in [("10s", "1ms"), ("1ms", "1ms"), ("366days", "366days")] {
        let flags = ["plot", "--window", window, "--step", step];
        let drawn = run_on(written.path(), &flags).printed();
        assert!(drawn.contains(" hits in "), "{drawn}");
    }
}

#[test]
fn the_directory_and_the_window_come_from_the_environment_too() {
    let written = written(1, 10);
    let run = |arguments: &[&str], window: &str| {
        let mut command = command(arguments);
        command
            .env("TALLYD_DATA", written.path())
            .env("TALLYD_WINDOW", window);
        ran(&command.ended())
    };
    assert_eq!(run(&["count"], "1h").number(), 10);
    assert_eq!(run(&["count", "--window", "2h"], "nonsense").number(), 10);
    let said = run(&["count"], "nonsense").complaint(2);
    assert!(
        said.starts_with("tallyd: TALLYD_WINDOW: 'nonsense' is no duration"),
        "{said}"
    );
    assert!(
        run(&["plot"], "1h")
            .printed()
            .contains("\n10 hits in 3600s; a bar is 60s, ")
    );
    let here = tempfile::tempdir().expect("a directory");
    let mut command = command(&["verify"]);
    let output = command.current_dir(here.path()).ended();
    let said = ran(&output).complaint(1);
    assert_eq!(
        said,
        "tallyd: cannot read data directory tallyd-data: no such file or directory\n"
    );
}

#[test]
fn a_chart_fits_the_columns_and_the_alphabet_of_its_terminal() {
    let written = written(2, 3000);
    for columns in ["40", "41", "79", "80", "133", "1000"] {
        for locale in ["C", "C.UTF-8", "de_DE.utf8"] {
            let mut command = command(&[
                "plot",
                "--window",
                "10s",
                "--step",
                "100ms",
                &written.shown(),
            ]);
            command.env("LC_ALL", locale).env("COLUMNS", columns);
            let drawn = ran(&command.ended()).printed();
            assert!(drawn.contains("\n6000 hits in 10s"), "{drawn}");
            let widest = drawn.lines().map(|line| line.chars().count()).max();
            let columns: usize = columns.parse().expect("a number");
            assert!(
                widest.is_some_and(|widest| widest <= columns && widest * 2 >= columns.min(100)),
                "{columns}: {drawn}"
            );
            assert_eq!(drawn.is_ascii(), locale == "C", "{drawn}");
        }
    }
}
