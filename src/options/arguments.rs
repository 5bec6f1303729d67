//! From the arguments of a command to its [`Task`].
//!
//! Owns the rules between flags. Of the environment, `TALLYD_WINDOW` and `TALLYD_DATA` are asked, which the
//! server has too; a plot also asks how wide and of which alphabet the terminal is.
//!
//! Must not know how a task is done. Invariant: whatever is wrong is named with flag, value and limit.

use super::commands::{Row, data_flag, help};
use super::table::{HISTORY, Takes, variable};
use super::tasks::{Format, Interval, Plot, Source, Span, Task, WINDOW_NS};
use super::{Command, Given, completions, directory, manual};
use crate::error::{Error, Result};
use crate::notation::parse_instant;
use lexopt::{Arg, Parser};
use std::ffi::OsString;

/// Reads what follows the command's name.
///
/// # Errors
/// Something there is wrong; the message names flag, value and limit.
pub(super) fn parse(
    row: &'static Row,
    mut parser: Parser,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Command> {
    let mut arguments = Arguments {
        row,
        given: vec![None; row.flags.len()],
        operands: Vec::new(),
    };
    let more = format!("tallyd {} --help lists them", row.name);
    let wrong = |cause: lexopt::Error| Error::found("command line", cause.to_string());
    while let Some(argument) = parser.next().map_err(wrong)? {
        let name = match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help(row))),
            Arg::Value(value) => {
                let origin = value.to_string_lossy().into_owned();
                arguments.operands.push(Given { origin, value });
                continue;
            }
            Arg::Short(letter) => {
                return Err(Error::found(
                    format!("-{letter}"),
                    format!("no such flag; {more}"),
                ));
            }
            Arg::Long(name) => name.to_owned(),
        };
        let origin = format!("--{name}");
        let Some(index) = row.flags.iter().position(|flag| flag.name == name) else {
            return Err(Error::found(origin, format!("no such flag; {more}")));
        };
        let takes = row.flags[index].takes;
        let value = if matches!(takes, Takes::Switch) {
            OsString::new()
        } else {
            parser.value().map_err(|_| {
                Error::found(&*origin, format!("a value is missing: {}", takes.value()))
            })?
        };
        if arguments.given[index].is_some() {
            return Err(Error::found(origin, "given twice"));
        }
        arguments.given[index] = Some(Given { origin, value });
    }
    match arguments.printed()? {
        Some(text) => Ok(Command::Print(text)),
        None => arguments.task(&environment).map(Command::Inspect),
    }
}

/// What was given to a command.
struct Arguments {
    row: &'static Row,
    given: Vec<Option<Given>>,
    operands: Vec<Given>,
}

impl Arguments {
    /// What a command prints that has nothing to look at.
    fn printed(&self) -> Result<Option<String>> {
        let shells = completions::SHELLS.join(", ");
        let (text, taken) = match (self.row.name, self.operands.first()) {
            ("man", _) => (manual::manual(), 0),
            ("completions", None) => {
                return Err(Error::found(
                    "tallyd completions",
                    format!("a shell is missing, there are: {shells}"),
                ));
            }
            ("completions", Some(shell)) => {
                let name = shell.text()?;
                let text = completions::completions(name).ok_or_else(|| {
                    shell.error(format!("no completions for it, there are: {shells}"))
                })?;
                (text, 1)
            }
            _ => return Ok(None),
        };
        match self.operands.get(taken) {
            Some(more) => Err(more.error(format!("tallyd {} takes no more", self.row.name))),
            None => Ok(Some(text)),
        }
    }

    fn task(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Task> {
        let directory_only = || {
            self.one(environment).and_then(|source| match source {
                Source::Directory(path) => Ok(path),
                Source::Url(_) => Err(self.operands[0].error("a directory is required, not a URL")),
            })
        };
        match self.row.name {
            "count" => {
                let sources = self.sources(environment)?;
                let interval = self.interval()?;
                let span = match (interval, self.get("window")) {
                    (
                        Interval {
                            from_ns: None,
                            to_ns: None,
                        },
                        _,
                    ) => self
                        .window_ns(environment)?
                        .map_or(Span::Default, Span::Window),
                    (_, Some(window)) => {
                        return Err(window.error("not together with --from and --to"));
                    }
                    (Interval { from_ns: None, .. }, None) => {
                        return Err(Error::found("--to", "needs --from"));
                    }
                    (interval, None) => Span::Between(interval),
                };
                Ok(Task::Count(sources, span))
            }
            "dump" => {
                let format = match self
                    .get("format")
                    .map(Given::text)
                    .transpose()?
                    .unwrap_or("text")
                {
                    "text" => Format::Text,
                    "csv" => Format::Csv,
                    "json" => Format::Json,
                    "raw" => Format::Raw,
                    other => {
                        let words = "text, csv, json, raw";
                        return Err(Error::found(
                            "--format",
                            format!("'{other}' is no format, there are: {words}"),
                        ));
                    }
                };
                Ok(Task::Dump(directory_only()?, format, self.interval()?))
            }
            "verify" => directory_only().map(Task::Verify),
            "clock" => self.clock(environment),
            _ => self.plot(environment).map(Task::Plot),
        }
    }

    fn clock(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Task> {
        if let Some(operand) = self.operands.first() {
            return Err(operand.error("tallyd clock takes no operand; --data says where"));
        }
        let data = self
            .get("data")
            .cloned()
            .unwrap_or_else(|| data(environment));
        Ok(Task::Clock(directory(&data)?, self.get("json").is_some()))
    }

    fn plot(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Plot> {
        let window_ns = self.window_ns(environment)?;
        let step_ns = self.get("step").map(span_ns).transpose()?;
        let times = match self.get("times") {
            Some(times) if self.get("watch").is_none() => return Err(times.error("needs --watch")),
            Some(times) => Some(number(times, 1, 1_000_000)?),
            None if self.get("watch").is_some() => None,
            None => Some(1),
        };
        let text = |name| {
            environment(name)
                .and_then(|text| text.into_string().ok())
                .filter(|text| !text.is_empty())
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text);
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let plot = Plot {
            source: self.one(environment)?,
            window_ns,
            step_ns,
            is_aligned: self.get("align").is_some(),
            times,
            columns: text("COLUMNS").and_then(|columns| columns.parse().ok()),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        };
        // The window of a server is not known yet.
        let known_ns = match &plot.source {
            Source::Directory(_) => Some(window_ns.unwrap_or(WINDOW_NS)),
            Source::Url(_) => window_ns,
        };
        if let (Some(known_ns), Some(step)) = (known_ns, self.get("step")) {
            plot.step_of(known_ns).map_err(|cause| step.error(cause))?;
        }
        Ok(plot)
    }

    fn get(&self, name: &str) -> Option<&Given> {
        let index = self.row.flags.iter().position(|flag| flag.name == name)?;
        self.given[index].as_ref()
    }

    /// The window, if one is said.
    fn window_ns(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<u64>> {
        let origin = variable("window");
        let from_environment = environment(&origin).map(|value| Given { origin, value });
        let given = self.get("window").cloned().or(from_environment);
        given.as_ref().map(span_ns).transpose()
    }

    fn interval(&self) -> Result<Interval> {
        let instant = |name| self.get(name).map(instant_ns).transpose();
        let interval = Interval {
            from_ns: instant("from")?,
            to_ns: instant("to")?,
        };
        match (interval, self.get("from")) {
            (
                Interval {
                    from_ns: Some(from_ns),
                    to_ns: Some(to_ns),
                },
                Some(from),
            ) if from_ns > to_ns => Err(from.error("later than --to")),
            _ => Ok(interval),
        }
    }

    fn sources(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Vec<Source>> {
        if self.operands.is_empty() {
            return Ok(vec![Source::Directory(directory(&data(environment))?)]);
        }
        self.operands.iter().map(source).collect()
    }

    fn one(&self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Source> {
        let mut sources = self.sources(environment)?;
        match self.operands.get(1) {
            Some(second) => Err(second.error(format!(
                "tallyd {} takes one {}",
                self.row.name, self.row.operands
            ))),
            None => Ok(sources.remove(0)),
        }
    }
}

/// The data directory if no argument says one.
fn data(environment: &dyn Fn(&str) -> Option<OsString>) -> Given {
    let origin = variable("data");
    let value = environment(&origin).unwrap_or_else(|| data_flag().default.into());
    Given { origin, value }
}

fn span_ns(given: &Given) -> Result<u64> {
    let Takes::Span(min_ns, max_ns) = HISTORY else {
        unreachable!("history is a span")
    };
    given.span_ns(min_ns, max_ns)
}

fn number(given: &Given, min: u64, max: u64) -> Result<u64> {
    let text = given.text()?;
    let number = text
        .parse()
        .ok()
        .filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| given.error(format!("'{text}' is no whole number from {min} to {max}")))
}

fn instant_ns(given: &Given) -> Result<i64> {
    let text = given.text()?;
    parse_instant(text).map_err(|cause| given.error(cause))
}

/// A directory, or what looks like a URL.
fn source(given: &Given) -> Result<Source> {
    let url = given.value.to_str().filter(|text| text.contains("://"));
    let Some(url) = url else {
        return directory(given).map(Source::Directory);
    };
    let wrong = |cause: &str| Err(given.error(cause));
    let Some(rest) = url.strip_prefix("http://") else {
        return wrong("only http:// is spoken");
    };
    let address = rest.strip_suffix('/').unwrap_or(rest);
    if address.is_empty()
        || address.contains(|c: char| "/?#@".contains(c) || c.is_whitespace() || c.is_control())
    {
        return wrong("no URL such as http://127.0.0.1:8081");
    }
    let behind = address.rsplit(']').next().unwrap_or(address);
    match behind.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(Source::Url(address.to_owned())),
        Some(_) => wrong("no port from 0 to 65535 stands behind the colon"),
        None => Ok(Source::Url(format!("{address}:80"))),
    }
}
