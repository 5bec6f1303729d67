//! `tallyd clock`: every figure is there in both notations and plausible, nothing is left behind, and
//! what is wrong is named.
//!
//! Owns the runs of the real binary; whether a figure is right is for the unit tests beside what
//! measures it. What is plausible is what any machine keeps, in a debug build and under load too.
//!
//! Must not know how anything is measured. Invariant tested: a data directory is the same before and
//! after, whatever becomes of the run.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::ended::{Ended, wait_for};
use support::server::TALLYD;

/// The promise is 5 s; a debug build that shares its processors may take longer.
const TIME_MAX: Duration = Duration::from_secs(10);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(TALLYD);
    command.env_clear().arg("clock").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    let began = Instant::now();
    let output = command(arguments).ended();
    assert!(began.elapsed() < TIME_MAX, "{:?}", began.elapsed());
    output
}

/// What it printed, given that it had nothing to complain of.
fn printed(output: Output) -> String {
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

/// What it complained of, given that it printed nothing and failed with `code`.
fn complaint(output: Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("text")
        })
        .collect()
}

/// The scalars of one JSON object by their path, as in `clocks.0.step_ns`; strings without quotes.
fn scalars(json: &str) -> BTreeMap<String, String> {
    let mut parser = Parser {
        rest: json.trim_end(),
        found: BTreeMap::new(),
    };
    parser.value("");
    assert!(parser.rest.is_empty(), "behind the object: {}", parser.rest);
    parser.found
}

struct Parser<'a> {
    rest: &'a str,
    found: BTreeMap<String, String>,
}

impl Parser<'_> {
    fn take(&mut self, token: char) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn string(&mut self) -> String {
        assert!(self.take('"'), "no string: {}", self.rest);
        let end = self.rest.find('"').expect("its end");
        let string = self.rest[..end].to_owned();
        assert!(!string.contains('\\'), "not needed here: {string}");
        self.rest = &self.rest[end + 1..];
        string
    }

    fn value(&mut self, path: &str) {
        let below = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        if self.take('{') {
            loop {
                let name = below(&self.string());
                assert!(self.take(':'), "{name}");
                self.value(&name);
                if !self.take(',') {
                    break;
                }
            }
            assert!(self.take('}'), "{path}");
        } else if self.take('[') {
            let mut place = 0;
            loop {
                self.value(&below(&place.to_string()));
                place += 1;
                if !self.take(',') {
                    break;
                }
            }
            assert!(self.take(']'), "{path}");
        } else if self.rest.starts_with('"') {
            let string = self.string();
            self.found.insert(path.to_owned(), string);
        } else {
            let end = self.rest.find([',', '}', ']']).expect("its end");
            self.found
                .insert(path.to_owned(), self.rest[..end].to_owned());
            self.rest = &self.rest[end..];
        }
    }
}

/// The figures of a run, by their path.
struct Figures(BTreeMap<String, String>);

impl Figures {
    fn text(&self, path: &str) -> &str {
        let found = self.0.get(path);
        found.unwrap_or_else(|| panic!("{path} is missing: {:#?}", self.0))
    }

    fn number(&self, path: &str) -> f64 {
        self.text(path).parse().expect(path)
    }

    fn within(&self, path: &str, least: f64, most: f64) -> f64 {
        let number = self.number(path);
        assert!((least..=most).contains(&number), "{path} is {number}");
        number
    }
}

#[test]
fn every_figure_is_there_and_plausible() {
    let data = tempfile::tempdir().expect("a directory");
    let said = printed(run(&["--json", "--data", text(data.path())]));
    assert!(said.ends_with("}\n") && said.lines().count() == 1, "{said}");
    let figures = Figures(scalars(&said));
    assert!(names(data.path()).is_empty());

    let mut used = Vec::new();
    let clocks = [
        "boot time",
        "monotonic",
        "monotonic raw",
        "monotonic coarse",
        "realtime",
    ];
    let mut seen = Vec::new();
    for place in 0.. {
        let of = |field: &str| format!("clocks.{place}.{field}");
        let Some(name) = figures.0.get(&of("name")) else {
            break;
        };
        seen.push(&**name);
        if figures.text(&of("used")) == "true" {
            used.push(&**name);
        }
        figures.within(&of("resolution_ns"), 1.0, 1e8);
        figures.within(&of("step_ns"), 1.0, 1e9);
        figures.within(&of("read_ns"), 0.1, 1e5);
        figures.within(&of("equal_share_of_1_thread"), 0.0, 1.0);
        figures.within(&of("equal_share_of_2_threads"), 0.0, 1.0);
        if name.contains("coarse") {
            // Such a clock stands still for a million readings.
            figures.within(&of("equal_share_of_1_thread"), 0.9, 1.0);
        }
    }
    if cfg!(target_os = "linux") {
        assert!(clocks.iter().all(|name| seen.contains(name)), "{seen:?}");
        assert_eq!(used, ["boot time"]);
    }
    assert_eq!(figures.text("used.name"), used[0]);
    assert!(
        figures
            .text("used.reason")
            .contains("no step of the wall clock")
    );

    figures.within("processors", 1.0, 1e5);
    let stamp_ns = figures.within("stamp_ns", 0.1, 1e5);
    figures.within("record.bytes", 8.0, 8.0);
    figures.within("record.encode_ns", 0.1, 1e5);
    figures.within("record.check_ns", 0.1, 1e5);
    for (place, batch) in [1.0, 8.0, 64.0, 512.0].into_iter().enumerate() {
        figures.within(&format!("appends.{place}.batch"), batch, batch);
        let ns = figures.within(&format!("appends.{place}.ns"), 1.0, 1e7);
        let per_second = 1e9 / ns;
        figures.within(
            &format!("appends.{place}.hits_per_second"),
            per_second * 0.9,
            per_second * 1.1,
        );
    }

    for of in ["recycled", "growing"] {
        figures.within(&format!("sync.{of}.syncs"), 1.0, 24.0);
        let least = figures.within(&format!("sync.{of}.ns_min"), 0.0, 1e10);
        let most = figures.within(&format!("sync.{of}.ns_max"), least, 1e10);
        figures.within(&format!("sync.{of}.ns_median"), least, most);
        for told in ["process_bytes", "device_bytes"] {
            let path = format!("sync.{of}.{told}");
            if figures.text(&path) != "null" {
                figures.within(&path, 0.0, 1e9);
            }
        }
    }
    assert_eq!(figures.text("sync.directory"), text(data.path()));
    figures.text("sync.device");

    figures.within("follows.precision_ns", stamp_ns.floor(), 1e8);
    figures.within("follows.hits_per_second_max", 1e4, 1e9);
    for (place, rate) in [1.0, 100.0, 10_000.0].into_iter().enumerate() {
        let of = |field: &str| format!("follows.bytes_a_day.{place}.{field}");
        figures.within(&of("hits_per_second"), rate, rate);
        let records = rate * 8.0 * 86_400.0;
        figures.within(&of("records"), records, records);
        let never = figures.within(&of("sync_never"), records, 1e15);
        let second = figures.within(&of("sync_1s"), never, 1e15);
        assert!(figures.number(&of("sync_always")) >= records.max(second.min(never)));
    }
}

#[test]
fn the_tables_have_every_figure_and_fit_100_columns() {
    let data = tempfile::tempdir().expect("a directory");
    let said = printed(run(&["--data", text(data.path())]));
    for part in [
        "clocks, from source ",
        "claimed, ns",
        "step seen, ns",
        "read, ns",
        "equal, 1 thr.",
        "2 threads",
        "\n  monotonic ",
        "\n  realtime ",
        "tallyd stamps hits by ",
        "\n  its stamp ",
        "\n  its record of 8 bytes, encoded ",
        "\n  its record, checked ",
        "\n  counted, in batches of 1 ",
        "\n  counted, in batches of 8 ",
        "\n  counted, in batches of 64 ",
        "\n  counted, in batches of 512 ",
        "\nsyncs of one hit each, in ",
        "in a recycled file",
        "while files grow",
        "bytes written: by the process ",
        "\n  precision ",
        "\n  highest rate ",
        "10000 hits/s",
        "\n  records                 691 kB         69.1 MB         6.91 GB\n",
        "\n  --sync always ",
        "\n  --sync 1s ",
        "\n  --sync never ",
        "\n  always: at most, since hits that wait share a sync; ",
    ] {
        assert!(said.contains(part), "{part:?} is missing:\n{said}");
    }
    assert!(
        said.lines().all(|line| line.chars().count() <= 100),
        "{said}"
    );
    assert!(names(data.path()).is_empty());
}

#[test]
fn a_journal_and_what_other_runs_have_left_stay_as_they_are() {
    let data = tempfile::tempdir().expect("a directory");
    let segment = data.path().join("0000000000000001.seg");
    fs::write(&segment, b"somebody's").expect("written");
    let left = data.path().join("tallyd-clock-1/syncs");
    fs::create_dir_all(&left).expect("a directory");
    fs::write(left.join("lock"), b"1\n").expect("written");
    // Nobody can tell whose it is.
    let other = data.path().join("tallyd-clock-notes");
    fs::create_dir_all(&other).expect("a directory");
    fs::write(other.join("notes"), b"somebody's").expect("written");
    let output = run(&["--data", text(data.path())]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    for name in ["tallyd-clock-1", "tallyd-clock-notes"] {
        assert!(
            said.contains(&format!(
                " warn: {}: \"{name}\" is of another run; remove it if that has ended\n",
                data.path().display()
            )),
            "{said}"
        );
    }
    let mut names = names(data.path());
    names.sort();
    let expected = [
        "0000000000000001.seg",
        "tallyd-clock-1",
        "tallyd-clock-notes",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read(left.join("lock")).expect("it is there"), b"1\n");
    assert_eq!(fs::read(&segment).expect("it is there"), b"somebody's");
}

#[test]
fn where_there_is_no_data_directory_yet_it_measures_beside_it() {
    let above = tempfile::tempdir().expect("a directory");
    let mut command = command(&["--json"]);
    let output = command.current_dir(above.path()).ended();
    assert!(printed(output).contains("\"directory\":\".\""));
    assert!(names(above.path()).is_empty());
}

#[test]
fn the_variable_says_where_and_the_flag_goes_before_it() {
    let data = tempfile::tempdir().expect("a directory");
    let mut command = command(&["--json"]);
    let output = command.env("TALLYD_DATA", data.path()).ended();
    let said = printed(output);
    let expected = format!("\"directory\":\"{}\"", text(data.path()));
    assert!(said.contains(&expected), "{said}");
    let output = Command::new(TALLYD)
        .args(["clock", "--data", "nowhere/at-all"])
        .env("TALLYD_DATA", data.path())
        .ended();
    complaint(output, 1);
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let above = tempfile::tempdir().expect("a directory");
    let missing = above.path().join("no/data");
    let file = above.path().join("file");
    fs::write(&file, b"").expect("written");
    for (path, cause) in [
        (&missing, "no such file or directory"),
        (&file, "not a directory"),
    ] {
        let said = complaint(run(&["--data", text(path)]), 1).to_lowercase();
        let expected = format!("tallyd: cannot use data directory {}: {cause}", text(path));
        assert!(said.starts_with(&expected.to_lowercase()), "{said}");
        assert_eq!(said.lines().count(), 1);
    }
    assert_eq!(names(above.path()), ["file"]);
}

#[test]
fn a_usage_error_exits_2_and_says_one_line() {
    let rows: [(&[&str], &str); 5] = [
        (
            &["here"],
            "here: tallyd clock takes no operand; --data says where",
        ),
        (
            &["--xml"],
            "--xml: no such flag; tallyd clock --help lists them",
        ),
        (&["--json", "--json"], "--json: given twice"),
        (&["--data"], "--data: a value is missing: DIR"),
        (&["--data", ""], "--data: a directory must have a name"),
    ];
    for (arguments, expected) in rows {
        let said = complaint(run(arguments), 2);
        assert_eq!(said, format!("tallyd: {expected}\n"));
    }
}

#[test]
fn help_names_every_flag_and_its_default() {
    let help = printed(run(&["--help"]));
    assert!(help.starts_with("tallyd clock measures "), "{help}");
    assert!(help.contains("[default: tallyd-data; variable: TALLYD_DATA]"));
    assert!(
        help.contains("--json\n") && help.lines().all(|line| line.len() <= 80),
        "{help}"
    );
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let data = tempfile::tempdir().expect("a directory");
    let mut child = command(&["--data", text(data.path())])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let began = Instant::now();
    while names(data.path()).is_empty() {
        assert!(began.elapsed() < TIME_MAX, "its directory appears");
        assert!(child.try_wait().expect("its state").is_none());
        std::thread::yield_now();
    }
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("it is told");
    let output = wait_for(child, "tallyd clock");
    assert_eq!(complaint(output, 1), "tallyd: measuring: interrupted\n");
    assert!(names(data.path()).is_empty());
}
