//! Flags, environment, limits.
//!
//! Owns the way from text to [`Options`]; what there is stands in one table. Each flag `--name` has its
//! variable `TALLYD_NAME`; the flag goes before the variable, the variable before the default. An empty variable
//! is unset. Whatever is wrong is named with its flag, its value and the limit.
//!
//! Must not know what the options do. Invariant: every [`Options`] that comes out can be served.

mod arguments;
mod commands;
mod completions;
mod environment;
mod manual;
mod table;
pub mod tasks;

pub use environment::unknown_variables;

use crate::error::{Error, Result};
use crate::front;
use crate::front::pool::limits::Limits;
use crate::journal::SyncPolicy;
use crate::notation::{duration, parse_duration};
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::path::PathBuf;
use table::{FLAGS, Flag, Takes, help, variable};

/// What `tallyd` serves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where hits come in, as `HOST:PORT`.
    pub listen: String,
    /// Where operators ask, as `HOST:PORT`, if anywhere.
    pub operator: Option<String>,
    /// Host names by which operators may address it, beside `localhost` and IP addresses.
    pub admin_hosts: Vec<String>,
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
    /// What hits are stamped by.
    pub stamping: front::Stamping,
    /// How many threads handle requests.
    pub workers: usize,
    /// What clients may take.
    pub limits: Limits,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve(Options),
    /// Look into a journal, or ask a running server.
    Inspect(tasks::Task),
    /// Print this and end.
    Print(String),
}

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
    let environment: &dyn Fn(&str) -> Option<OsString> = &environment::set(environment);
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
                        format!("a value is missing: {}", FLAGS[index].takes.value()),
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
                if let Some(row) = commands::named(&value) {
                    return match given.iter().flatten().next() {
                        Some(given) => {
                            Err(given.error("stands before the command, which comes first"))
                        }
                        None => arguments::parse(row, parser, environment),
                    };
                }
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

fn options(given: &[Option<Given>; FLAGS.len()]) -> Result<Options> {
    let values = Values(given);
    let window_ns = values.span_ns("window")?;
    let retain = values.given("retain");
    let retain_ns = if retain.value.is_empty() {
        window_ns
    } else {
        values.span_ns("retain")?
    };
    if retain_ns < window_ns {
        let (text, window) = (retain.text()?, duration(window_ns));
        return Err(retain.error(format!("{text} is shorter than the window, {window}")));
    }
    let front = front_kind(&values.given("front"))?;
    let connections_max = values.number("connections")? as usize;
    // A number that somebody has asked for is not lowered.
    let connections_min = if values.is_given("connections") {
        connections_max
    } else {
        Limits::DEFAULT.connections_min
    };
    Ok(Options {
        listen: address(&values.given("listen"))?,
        operator: door(&values.given("operator"))?,
        admin_hosts: hosts(&values.given("admin-host"))?,
        data: directory(&values.given("data"))?,
        window_ns,
        retain_ns,
        sync: values.sync("sync")?,
        front,
        stamping: stamping(&values.given("stamp"), front)?,
        workers: values.number("workers")? as usize,
        limits: Limits {
            connections_max,
            connections_min,
            head_bytes_max: values.number("head-bytes")? as usize,
            headers_max: values.number("headers")? as usize,
            body_bytes_max: values.number("body-bytes")?,
            head_ns_max: values.span_ns("head-time")?,
            idle_ns_max: values.span_ns("idle-time")?,
            write_ns_max: values.span_ns("write-time")?,
            pass_hits_max: values.number("pass-hits")? as usize,
        },
    })
}

/// What was given for each flag.
struct Values<'a>(&'a [Option<Given>; FLAGS.len()]);

impl Values<'_> {
    fn row(&self, name: &str) -> (&'static Flag, Given) {
        let index = FLAGS.iter().position(|flag| flag.name == name);
        let index = index.expect("every option has its row");
        let flag = &FLAGS[index];
        let default = || Given {
            origin: format!("--{name}"),
            value: flag.default.into(),
        };
        (flag, self.0[index].clone().unwrap_or_else(default))
    }

    fn given(&self, name: &str) -> Given {
        self.row(name).1
    }

    fn is_given(&self, name: &str) -> bool {
        let mut flags = FLAGS.iter().zip(self.0);
        flags.any(|(flag, given)| flag.name == name && given.is_some())
    }

    fn span_ns(&self, name: &str) -> Result<u64> {
        let (flag, given) = self.row(name);
        match flag.takes {
            Takes::Span(min_ns, max_ns) | Takes::Sync(min_ns, max_ns) => {
                given.span_ns(min_ns, max_ns)
            }
            _ => unreachable!("--{name} takes a duration"),
        }
    }

    fn sync(&self, name: &str) -> Result<SyncPolicy> {
        match self.given(name).text()? {
            "always" => Ok(SyncPolicy::Always),
            "never" => Ok(SyncPolicy::Never),
            _ => self
                .span_ns(name)
                .map(|period_ns| SyncPolicy::Every { period_ns }),
        }
    }

    fn number(&self, name: &str) -> Result<u64> {
        let (flag, given) = self.row(name);
        let Takes::Number(min, max) = flag.takes else {
            unreachable!("--{name} takes a number");
        };
        let text = given.text()?;
        let number = text
            .parse()
            .ok()
            .filter(|number| (min..=max).contains(number));
        number
            .ok_or_else(|| given.error(format!("'{text}' is no whole number from {min} to {max}")))
    }
}

fn address(given: &Given) -> Result<String> {
    let text = given.text()?;
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err(given.error(format!("'{text}' is no address, HOST:PORT is required"))),
    }
}

fn door(given: &Given) -> Result<Option<String>> {
    if given.text()? == "none" {
        return Ok(None);
    }
    address(given).map(Some)
}

/// Host names, separated by commas.
fn hosts(given: &Given) -> Result<Vec<String>> {
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        name == "*" || !name.is_empty() && name.bytes().all(fits)
    };
    let names = given.text()?.split(',').map(str::trim);
    names
        .map(|name| match is_name(name) {
            true => Ok(name.to_owned()),
            false => Err(given.error(format!(
                "invalid host name '{name}': expected names without a port, separated by commas, or '*'"
            ))),
        })
        .collect()
}

fn directory(given: &Given) -> Result<PathBuf> {
    if given.value.is_empty() {
        return Err(given.error("a directory must have a name"));
    }
    Ok(PathBuf::from(&given.value))
}

/// The one of `all` with the name that was given; `else_is` is what any other name is.
fn named<T: Copy, const N: usize>(
    given: &Given,
    all: [T; N],
    name: fn(T) -> &'static str,
    else_is: &str,
) -> Result<T> {
    let text = given.text()?;
    let found = all.into_iter().find(|it| name(*it) == text);
    found.ok_or_else(|| {
        let names = all.map(name).join(", ");
        given.error(format!("'{text}' is {else_is}: {names}"))
    })
}

fn front_kind(given: &Given) -> Result<front::Kind> {
    let all = front::Kind::ALL;
    named(given, all, front::Kind::name, "no front, there are")
}

fn stamping(given: &Given, front: front::Kind) -> Result<front::Stamping> {
    let all = front::Stamping::ALL;
    match named(given, all, front::Stamping::name, "none of these")? {
        front::Stamping::Kernel if front != front::Kind::Pool => {
            Err(given.error("only the pool front has kernel stamps"))
        }
        stamping => Ok(stamping),
    }
}

#[cfg(test)]
mod tests;
