//! Every flag of the tools and every variable they read: another value, another output.
//!
//! Owns one row for each flag of each command, and what `clock` is asked in another file. Must not know how
//! a tool goes about it. Invariant: a flag that the help of a command lists has a row, and so has a variable.

use crate::command;
use crate::support::ended::Ended;
use crate::written::{Written, write};
use std::collections::BTreeSet;
use tallyd::clock::{Clock, SystemClock, boot_id};
use tallyd::stamp::{Anchor, SECOND_NS};

/// Hits in the journal, one a second; the last came half an hour ago.
const HITS: u64 = 10;
/// Flags that `tests/clock_command.rs` has a test for, since each run takes seconds.
const MEASURED: [(&str, &str); 2] = [
    (
        "data",
        "fn the_variable_says_where_and_the_flag_goes_before_it()",
    ),
    ("json", "fn every_figure_is_there_and_plausible()"),
];

/// In place of a value: neither flag nor variable is given.
const ABSENT: &str = "(absent)";

/// A flag or a variable of a command, and what is to be seen of its output.
struct Row {
    command: &'static str,
    /// What is tried, and the words for it: `--flag`, or the name of the variable.
    what: &'static str,
    /// Further arguments, and then values with what is seen for each.
    with: Vec<String>,
    values: Vec<(String, String)>,
    see: fn(&str) -> String,
}

fn row(
    command: &'static str,
    what: &'static str,
    with: &[&str],
    values: &[(&str, &str)],
    see: fn(&str) -> String,
) -> Row {
    let owned = |text: &&str| (*text).to_owned();
    let values = values
        .iter()
        .map(|(value, seen)| (owned(value), owned(seen)));
    Row {
        command,
        what,
        with: with.iter().map(owned).collect(),
        values: values.collect(),
        see,
    }
}

fn all(out: &str) -> String {
    out.trim_end().to_owned()
}

fn lines(out: &str) -> String {
    out.lines().count().to_string()
}

/// What a chart says below its bars, but for the highest: hits may lie on either side of a step.
fn legend(out: &str) -> String {
    let legend = out.lines().find(|line| line.contains(" hits in "));
    let (legend, _) = legend.expect("a legend").rsplit_once(", ").expect("a bar");
    legend.to_owned()
}

/// How often a chart was drawn.
fn charts(out: &str) -> String {
    out.matches(" hits in ").count().to_string()
}

/// Whether the last step ends at a whole ten seconds.
fn alignment(out: &str) -> String {
    let (_, instant) = out.split_once("\nup to ").expect("an instant");
    let is_aligned = instant[18..].starts_with("0.000000000Z");
    (if is_aligned { "whole" } else { "anywhere" }).to_owned()
}

/// The format of a dump, and how many lines it has.
fn form(out: &str) -> String {
    let format = match out.lines().next().expect("a line") {
        "sequence,instant,stamp_ns" => "csv",
        line if line.starts_with("{\"sequence\":0,") => "json",
        line if line.ends_with('Z') => "text",
        _ => return "raw".to_owned(),
    };
    format!("{format}, {}", lines(out))
}

fn rows(written: &Written, empty: &Written) -> Vec<Row> {
    let [full, empty] = [written, empty].map(Written::shown);
    let instants: Vec<String> = written
        .walls_ns
        .iter()
        .map(|wall_ns| tallyd::notation::instant(*wall_ns))
        .collect();
    let at = |index: usize| &*instants[index];
    let windows = [("1h", "10"), ("1s", "0")];
    let legends = [
        ("1h", "10 hits in 3600s; a bar is 60s"),
        ("1s", "0 hits in 1s; a bar is 20ms"),
    ];
    let directories = [(&*full, "10"), (&*empty, "0")];
    let sound = |of: &str, what: &str| format!("{of}: {what}, 0 faults: sound");
    vec![
        row("count", "--window", &[&full], &windows, all),
        row("count", "TALLYD_WINDOW", &[&full], &windows, all),
        row(
            "count",
            "--from",
            &[&full],
            &[(at(0), "9"), (at(3), "6"), (at(9), "0")],
            all,
        ),
        row(
            "count",
            "--to",
            &[&full, "--from", at(3)],
            &[(at(3), "0"), (at(5), "2"), (at(9), "6")],
            all,
        ),
        row("count", "TALLYD_DATA", &["--window=1h"], &directories, all),
        row(
            "dump",
            "--format",
            &[&full],
            &[
                ("text", "text, 10"),
                ("csv", "csv, 11"),
                ("json", "json, 10"),
                ("raw", "raw"),
            ],
            form,
        ),
        row(
            "dump",
            "--from",
            &[&full],
            &[(at(0), "9"), (at(3), "6")],
            lines,
        ),
        row(
            "dump",
            "--to",
            &[&full],
            &[(at(0), "1"), (at(3), "4")],
            lines,
        ),
        row("dump", "TALLYD_DATA", &[], &directories, lines),
        row(
            "verify",
            "TALLYD_DATA",
            &[],
            &[
                (&full, &sound(&full, "1 segment, 10 records")),
                (&empty, &sound(&empty, "0 segments, 0 records")),
            ],
            all,
        ),
        row("plot", "--window", &[&full], &legends, legend),
        row("plot", "TALLYD_WINDOW", &[&full], &legends, legend),
        row(
            "plot",
            "--step",
            &[&full, "--window=1h"],
            &[
                ("1h", "10 hits in 3600s; a bar is 3600s"),
                ("10m", "10 hits in 3600s; a bar is 600s"),
            ],
            legend,
        ),
        row(
            "plot",
            "--align",
            &[&full, "--step=10s"],
            &[("", "whole"), (ABSENT, "anywhere")],
            alignment,
        ),
        row(
            "plot",
            "--watch",
            &[&full, "--times=2"],
            &[("", "2"), (ABSENT, "0")],
            charts,
        ),
        row(
            "plot",
            "--times",
            &[&full, "--watch"],
            &[("1", "1"), ("2", "2")],
            charts,
        ),
        row(
            "plot",
            "TALLYD_DATA",
            &["--window=1h", "--step=1h"],
            &[
                (&full, "10 hits in 3600s; a bar is 3600s"),
                (&empty, "0 hits in 3600s; a bar is 3600s"),
            ],
            legend,
        ),
    ]
}

/// What the command of a row prints with a value.
fn printed(row: &Row, value: &str) -> String {
    let mut command = command(&[row.command]);
    match (value, row.what.strip_prefix("--")) {
        (ABSENT, _) => {}
        (value, None) => {
            command.env(row.what, value);
        }
        ("", Some(_)) => {
            command.arg(row.what);
        }
        (value, Some(_)) => {
            command.args([row.what, value]);
        }
    }
    let output = command.args(&row.with).ended();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn half_an_hour_ago() -> Anchor {
    let now = SystemClock.anchor();
    let at = now.at.before(1800 * SECOND_NS);
    Anchor {
        at,
        wall_ns: now.wall_at(at),
    }
}

#[test]
fn every_flag_and_every_variable_of_a_tool_has_its_effect() {
    let (start, boot) = (half_an_hour_ago(), boot_id().expect("a boot"));
    let full = write(1, HITS, SECOND_NS, start, boot);
    let empty = write(0, 1, SECOND_NS, start, boot);
    let rows = rows(&full, &empty);
    std::thread::scope(|scope| {
        for row in &rows {
            let check = move || {
                for (value, expected) in &row.values {
                    let seen = (row.see)(&printed(row, value));
                    let what = format!("{} {} {value}", row.command, row.what);
                    assert_eq!(seen, *expected, "{what}");
                }
            };
            // Charts that are drawn again take a second each.
            scope.spawn(check);
        }
    });
}

#[test]
fn every_flag_and_every_variable_in_the_help_of_a_tool_has_a_row_with_two_effects() {
    let journal = write(
        1,
        HITS,
        SECOND_NS,
        half_an_hour_ago(),
        boot_id().expect("a boot"),
    );
    let rows = rows(&journal, &journal);
    let all = command(&["--help"]).ended();
    let all = String::from_utf8(all.stdout).expect("text");
    let usages = all
        .lines()
        .filter_map(|line| line.strip_prefix("       tallyd "));
    let commands = usages.filter_map(|usage| usage.split(' ').next());
    let commands: BTreeSet<&str> = commands.filter(|name| *name != "COMMAND").collect();
    assert!(commands.len() > 5, "{all}");
    for name in commands {
        let help = command(&[name, "--help"]).ended();
        let help = String::from_utf8(help.stdout).expect("text");
        let flags = help.lines().filter_map(|line| line.strip_prefix("  "));
        let flags = flags.filter(|line| line.starts_with("--"));
        let flags = flags.map(|line| line.split(' ').next().expect("a flag").to_owned());
        let variables = help.split("variable: ").skip(1);
        let variables = variables.map(|rest| rest.split(']').next().expect("its end").to_owned());
        let mut listed: BTreeSet<String> = flags.chain(variables).collect();
        if name == "clock" {
            let tests = include_str!("../clock_command.rs");
            for (flag, test) in MEASURED {
                assert!(tests.contains(test), "{test}");
                assert!(listed.remove(&format!("--{flag}")), "{flag}: {help}");
            }
            listed.remove("TALLYD_DATA");
        }
        let own = rows.iter().filter(|row| row.command == name);
        let tried: BTreeSet<String> = own.map(|row| row.what.to_owned()).collect();
        assert_eq!(tried, listed, "{name}");
    }
    for row in &rows {
        let seen: BTreeSet<&String> = row.values.iter().map(|(_, seen)| seen).collect();
        assert!(seen.len() > 1, "{} {}", row.command, row.what);
    }
}
