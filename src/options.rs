//! Flags, environment, limits.
//!
//! Owns the one table of options: help is formatted from it and from the constants that enforce the
//! limits. Each flag `--name` has its variable `TALLYD_NAME`; the flag goes before the variable, the
//! variable before the default. Whatever is wrong is named with its flag, its value and the limit.
//!
//! Must not know what the options do. Invariant: every [`Options`] that comes out can be served.

use crate::error::{Error, Result};
use crate::front;
use crate::journal::SyncPolicy;
use crate::notation::{duration, parse_duration};
use crate::stamp::{MILLISECOND_NS, SECOND_NS};
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

/// The shortest window and the shortest period between syncs, in nanoseconds.
pub const SPAN_NS_MIN: u64 = MILLISECOND_NS;
/// The longest time that history is kept, in nanoseconds: a leap year.
pub const RETAIN_NS_MAX: u64 = 366 * DAY_NS;
/// The longest period between two syncs, in nanoseconds.
pub const SYNC_NS_MAX: u64 = DAY_NS;
/// The most worker threads.
pub const WORKERS_MAX: usize = 256;

const DAY_NS: u64 = 24 * 3600 * SECOND_NS;

/// What `tallyd` serves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where hits come in, as `HOST:PORT`.
    pub listen: String,
    /// The data directory.
    pub data: PathBuf,
    /// The length of the window, in nanoseconds.
    pub window_ns: u64,
    /// How long history is kept, in nanoseconds; at least the window.
    pub retain_ns: u64,
    /// When records are forced to the device.
    pub sync: SyncPolicy,
    /// Which front serves.
    pub front: front::Kind,
    /// How many threads handle requests.
    pub workers: usize,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve(Options),
    /// Print this and end.
    Print(String),
}

/// One row of the table.
struct Flag {
    name: &'static str,
    value: &'static str,
    /// Empty where the default is another option's value.
    default: &'static str,
    help: &'static str,
}

const LISTEN: usize = 0;
const DATA: usize = 1;
const WINDOW: usize = 2;
const RETAIN: usize = 3;
const SYNC: usize = 4;
const FRONT: usize = 5;
const WORKERS: usize = 6;

const FLAGS: [Flag; 7] = [
    Flag {
        name: "listen",
        value: "HOST:PORT",
        default: "127.0.0.1:8080",
        help: "where hits come in; port 0 takes a free one and says which",
    },
    Flag {
        name: "data",
        value: "DIR",
        default: "tallyd-data",
        help: "the directory of the journal; created if missing",
    },
    Flag {
        name: "window",
        value: "DURATION",
        default: "60s",
        help: "the span a tally looks back over, such as 250ms, 60s or 1h",
    },
    Flag {
        name: "retain",
        value: "DURATION",
        default: "",
        help: "how long history is kept; the window if not given",
    },
    Flag {
        name: "sync",
        value: "always|DURATION|never",
        default: "1s",
        help: "when hits are forced to the device: before each answer, so often, or when the kernel likes",
    },
    Flag {
        name: "front",
        value: "NAME",
        default: "tiny-http",
        help: "what handles the connections",
    },
    Flag {
        name: "workers",
        value: "N",
        default: "4",
        help: "threads that handle requests",
    },
];

/// A value, and where it was given: what an error has to name.
#[derive(Clone)]
struct Given {
    origin: String,
    value: OsString,
}

impl Given {
    fn error(&self, cause: impl Into<String>) -> Error {
        Error::found(self.origin.clone(), cause)
    }

    fn text(&self) -> Result<&str> {
        let shown = || self.value.to_string_lossy().into_owned();
        self.value
            .to_str()
            .ok_or_else(|| self.error(format!("{} is not valid UTF-8", shown())))
    }

    /// A duration between two limits.
    fn span_ns(&self, min_ns: u64, max_ns: u64) -> Result<u64> {
        let text = self.text()?;
        let ns = parse_duration(text).map_err(|cause| {
            self.error(format!(
                "'{text}' is no duration such as 60s or 250ms: {cause}"
            ))
        })?;
        if ns < min_ns {
            let min = duration(min_ns);
            return Err(self.error(format!("{text} is too short, at least {min} is required")));
        }
        if ns > max_ns {
            let max = duration(max_ns);
            return Err(self.error(format!("{text} is too long, at most {max} is allowed")));
        }
        Ok(ns)
    }
}

/// Reads the command line, given without the program's name, and the environment.
///
/// # Errors
/// Something there is wrong; the message names flag, value and limit.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Command> {
    let mut given: [Option<Given>; FLAGS.len()] = Default::default();
    let mut parser = Parser::from_args(arguments);
    let wrong = |cause: lexopt::Error| Error::found("command line", cause.to_string());
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help())),
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(Command::Print(format!(
                    "tallyd {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            Arg::Long(name) => {
                let origin = format!("--{name}");
                let Some(index) = FLAGS.iter().position(|flag| flag.name == name) else {
                    return Err(Error::found(
                        origin,
                        "no such flag; tallyd --help lists them",
                    ));
                };
                let value = parser.value().map_err(|_| {
                    Error::found(
                        &*origin,
                        format!("a value is missing: {}", FLAGS[index].value),
                    )
                })?;
                if given[index].is_some() {
                    return Err(Error::found(origin, "given twice"));
                }
                given[index] = Some(Given { origin, value });
            }
            Arg::Short(letter) => {
                let flag = format!("-{letter}");
                return Err(Error::found(flag, "no such flag; tallyd --help lists them"));
            }
            Arg::Value(value) => {
                let value = value.to_string_lossy().into_owned();
                return Err(Error::found(
                    value,
                    "no such command; tallyd --help says more",
                ));
            }
        }
    }
    for (given, flag) in given.iter_mut().zip(&FLAGS) {
        if given.is_none() {
            let origin = variable(flag.name);
            *given = environment(&origin).map(|value| Given { origin, value });
        }
    }
    options(&given).map(Command::Serve)
}

/// The environment variable of a flag.
fn variable(name: &str) -> String {
    format!("TALLYD_{}", name.to_ascii_uppercase())
}

fn options(given: &[Option<Given>; FLAGS.len()]) -> Result<Options> {
    let of = |index: usize| {
        let Flag { name, default, .. } = FLAGS[index];
        let default = || Given {
            origin: format!("--{name}"),
            value: default.into(),
        };
        given[index].clone().unwrap_or_else(default)
    };
    let listen = address(&of(LISTEN))?;
    let data = PathBuf::from(of(DATA).value);
    if data.as_os_str().is_empty() {
        return Err(of(DATA).error("a directory must have a name"));
    }
    let window_ns = of(WINDOW).span_ns(SPAN_NS_MIN, RETAIN_NS_MAX)?;
    let retain_ns = match &given[RETAIN] {
        Some(retain) => {
            let retain_ns = retain.span_ns(SPAN_NS_MIN, RETAIN_NS_MAX)?;
            if retain_ns < window_ns {
                let (text, window) = (retain.text()?, duration(window_ns));
                return Err(retain.error(format!("{text} is shorter than the window, {window}")));
            }
            retain_ns
        }
        None => window_ns,
    };
    Ok(Options {
        listen,
        data,
        window_ns,
        retain_ns,
        sync: sync(&of(SYNC))?,
        front: front_kind(&of(FRONT))?,
        workers: workers(&of(WORKERS))?,
    })
}

fn address(given: &Given) -> Result<String> {
    let text = given.text()?;
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err(given.error(format!("'{text}' is no address, HOST:PORT is required"))),
    }
}

fn sync(given: &Given) -> Result<SyncPolicy> {
    match given.text()? {
        "always" => Ok(SyncPolicy::Always),
        "never" => Ok(SyncPolicy::Never),
        _ => {
            let period_ns = given.span_ns(SPAN_NS_MIN, SYNC_NS_MAX)?;
            Ok(SyncPolicy::Every { period_ns })
        }
    }
}

fn front_kind(given: &Given) -> Result<front::Kind> {
    let text = given.text()?;
    let named = front::Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == text);
    named.ok_or_else(|| {
        let names = front::Kind::ALL.map(front::Kind::name).join(", ");
        given.error(format!("'{text}' is no front, there is: {names}"))
    })
}

fn workers(given: &Given) -> Result<usize> {
    let text = given.text()?;
    match text.parse() {
        Ok(workers) if (1..=WORKERS_MAX).contains(&workers) => Ok(workers),
        _ => {
            let cause = format!("'{text}' is no number of workers, 1 to {WORKERS_MAX} is allowed");
            Err(given.error(cause))
        }
    }
}

fn help() -> String {
    let mut text = String::from(
        "tallyd answers every HTTP request with the number of requests of the last 60 seconds,\n\
         and keeps that number right across restarts, kills and power cuts.\n\n\
         usage: tallyd [FLAG VALUE]...\n\n",
    );
    for flag in &FLAGS {
        let default = if flag.default.is_empty() {
            "the window"
        } else {
            flag.default
        };
        let limits = match flag.name {
            "window" | "retain" => spans(RETAIN_NS_MAX),
            "sync" => spans(SYNC_NS_MAX),
            "workers" => format!("; 1 to {WORKERS_MAX}"),
            "front" => format!(": {}", front::Kind::ALL.map(front::Kind::name).join(", ")),
            _ => String::new(),
        };
        let head = format!("--{} {}", flag.name, flag.value);
        let _infallible = writeln!(text, "  {head}\n        {}{limits}", flag.help);
        let variable = variable(flag.name);
        let _infallible = writeln!(text, "        [default: {default}; variable: {variable}]");
    }
    text.push_str(
        "  -h, --help\n        this text\n  -V, --version\n        name and version\n\n\
         Exit status: 0 after TERM or INT, 1 after a failure, 2 after a usage error.\n",
    );
    text
}

fn spans(max_ns: u64) -> String {
    format!("; {} to {} days", duration(SPAN_NS_MIN), max_ns / DAY_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, String> {
        let found = |name: &str| {
            environment
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| value.into())
        };
        parse(arguments.iter().map(OsString::from), found).map_err(|error| error.to_string())
    }

    fn served(arguments: &[&str], environment: &[(&str, &str)]) -> Options {
        match parsed(arguments, environment) {
            Ok(Command::Serve(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_can_be_served() {
        let options = served(&[], &[]);
        assert_eq!(options.listen, "127.0.0.1:8080");
        assert_eq!(
            (options.window_ns, options.retain_ns),
            (60 * SECOND_NS, 60 * SECOND_NS)
        );
        assert_eq!(
            options.sync,
            SyncPolicy::Every {
                period_ns: SECOND_NS
            }
        );
        assert_eq!(options.workers, 4);
    }

    #[test]
    fn a_flag_goes_before_its_variable_and_the_variable_before_the_default() {
        let environment = [("TALLYD_WINDOW", "5s"), ("TALLYD_WORKERS", "2")];
        let options = served(&["--window", "7s"], &environment);
        assert_eq!((options.window_ns, options.workers), (7 * SECOND_NS, 2));
    }

    #[test]
    fn retention_follows_the_window_unless_given() {
        assert_eq!(served(&["--window=5s"], &[]).retain_ns, 5 * SECOND_NS);
        assert_eq!(
            served(&["--window=5s", "--retain=1h"], &[]).retain_ns,
            3600 * SECOND_NS
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_flag_value_and_limit() {
        for (arguments, message) in [
            (
                &["--window", "0s"][..],
                "--window: 0s is too short, at least 1ms is required",
            ),
            (
                &["--sync", "2days"],
                "--sync: 2days is too long, at most 86400s is allowed",
            ),
            (
                &["--retain", "10s"],
                "--retain: 10s is shorter than the window, 60s",
            ),
            (
                &["--workers", "0"],
                "--workers: '0' is no number of workers, 1 to 256 is allowed",
            ),
            (
                &["--front", "x"],
                "--front: 'x' is no front, there is: tiny-http",
            ),
            (
                &["--listen", "8080"],
                "--listen: '8080' is no address, HOST:PORT is required",
            ),
            (
                &["--listen", "a:70000"],
                "--listen: 'a:70000' is no address, HOST:PORT is required",
            ),
            (&["--data", ""], "--data: a directory must have a name"),
            (&["--window"], "--window: a value is missing: DURATION"),
            (&["--window=1s", "--window=2s"], "--window: given twice"),
            (
                &["--colour", "red"],
                "--colour: no such flag; tallyd --help lists them",
            ),
            (&["-x"], "-x: no such flag; tallyd --help lists them"),
            (&["frob"], "frob: no such command; tallyd --help says more"),
        ] {
            assert_eq!(parsed(arguments, &[]), Err(message.to_owned()));
        }
        let wrong = parsed(&[], &[("TALLYD_SYNC", "1us")]);
        let message = "TALLYD_SYNC: 1us is too short, at least 1ms is required";
        assert_eq!(wrong, Err(message.to_owned()));
    }

    #[test]
    fn help_names_every_flag_with_its_variable_and_default() {
        let Ok(Command::Print(help)) = parsed(&["--help"], &[]) else {
            panic!("no help")
        };
        for flag in &FLAGS {
            for part in [flag.name, flag.default, &*variable(flag.name)] {
                assert!(help.contains(part), "{part}");
            }
        }
    }
}
