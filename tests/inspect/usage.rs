//! The command line of the tools: help, limits and terminals.
//!
//! Owns the help and the limits as a user sees them; usage errors are in `tests/cli/errors.rs`. Must not know
//! what a tool does. Invariant tested: help fits 80 columns and names every default.

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
