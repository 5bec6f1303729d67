//! The one table of options: names, values, limits, defaults, and the help that is formatted from it.
//!
//! Owns what there is. The limits here are those that are enforced, and the help cannot say others.
//!
//! Must not know what the options do. Invariant: every default is within its own limits.

use super::commands;
use crate::front::pool::limits::{HEAD_BYTES_LIMIT, HEADERS_LIMIT};
use crate::front::{self, Stamping};
use crate::notation::duration;
use crate::stamp::{MILLISECOND_NS, SECOND_NS};
use std::fmt::Write;

/// The shortest window and the shortest period between syncs, in nanoseconds.
pub const SPAN_NS_MIN: u64 = MILLISECOND_NS;
/// The longest time that history is kept, in nanoseconds: a leap year.
pub const RETAIN_NS_MAX: u64 = 366 * DAY_NS;

/// How wide the help is at the most.
pub const HELP_COLUMNS: usize = 80;

const DAY_NS: u64 = 24 * 3600 * SECOND_NS;

/// One row of the table.
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Empty where the default is another option's value.
    pub default: &'static str,
    /// What it is for.
    pub help: &'static str,
}

/// What a flag takes, with the limits that are enforced.
#[derive(Clone, Copy)]
pub enum Takes {
    /// `HOST:PORT`.
    Address,
    /// `HOST:PORT`, or `none`.
    Door,
    /// Host names, separated by commas.
    Hosts,
    /// A path.
    Directory,
    /// A duration between so many nanoseconds.
    Span(u64, u64),
    /// `always`, `never`, or a duration between so many nanoseconds.
    Sync(u64, u64),
    /// The name of a front.
    Front,
    /// A whole number between these.
    Number(u64, u64),
    /// An instant in RFC 3339.
    Rfc3339,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Nothing: it is there or not.
    Switch,
}

impl Takes {
    /// What its value is called in the help.
    pub const fn value(self) -> &'static str {
        match self {
            Self::Address => "HOST:PORT",
            Self::Door => "HOST:PORT|none",
            Self::Hosts => "NAME[,NAME]...",
            Self::Directory => "DIR",
            Self::Span(..) => "DURATION",
            Self::Sync(..) => "always|DURATION|never",
            Self::Front => "NAME",
            Self::Number(..) => "N",
            Self::Rfc3339 => "INSTANT",
            Self::Word(_) => "WORD",
            Self::Switch => "",
        }
    }

    /// What it may be, to be said behind what it is for.
    pub fn limits(self) -> String {
        match self {
            Self::Address
            | Self::Door
            | Self::Hosts
            | Self::Directory
            | Self::Rfc3339
            | Self::Switch => String::new(),
            Self::Word(words) => format!(": {}", words.join(", ")),
            Self::Span(min_ns, max_ns) | Self::Sync(min_ns, max_ns) => {
                format!("; {} to {}", duration(min_ns), duration(max_ns))
            }
            Self::Front => format!(": {}", front_names()),
            Self::Number(min, max) => format!("; {min} to {max}"),
        }
    }
}

/// A row with these words.
pub const fn flag(
    name: &'static str,
    takes: Takes,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        takes,
        default,
        help,
    }
}

/// A span that history is kept for.
pub const HISTORY: Takes = Takes::Span(SPAN_NS_MIN, RETAIN_NS_MAX);
const PATIENCE: Takes = Takes::Span(10 * MILLISECOND_NS, DAY_NS);

/// Every flag there is.
pub const FLAGS: [Flag; 18] = [
    flag(
        "listen",
        Takes::Address,
        "127.0.0.1:8080",
        "where hits come in; port 0 takes a free one and says which",
    ),
    flag(
        "operator",
        Takes::Door,
        "127.0.0.1:8081",
        "where operators ask, and nothing counts: /count, /history, /status, /metrics and a page",
    ),
    flag(
        "admin-host",
        Takes::Hosts,
        "localhost",
        "host names by which operators may address it, beside localhost and IP addresses; requests with \
         any other Host are answered 403, against DNS rebinding; '*' accepts all",
    ),
    flag(
        "data",
        Takes::Directory,
        "tallyd-data",
        "the directory of the journal; created if missing",
    ),
    flag("window", HISTORY, "60s", "the span a tally looks back over"),
    flag(
        "retain",
        HISTORY,
        "",
        "how long history is kept, at least the window",
    ),
    flag(
        "sync",
        Takes::Sync(SPAN_NS_MIN, DAY_NS),
        "1s",
        "when hits are forced to the device: before each answer, so often, or when the kernel likes",
    ),
    flag(
        "front",
        Takes::Front,
        "pool",
        "what handles the connections",
    ),
    flag(
        "stamp",
        Takes::Word(&[Stamping::Read.name(), Stamping::Kernel.name()]),
        "read",
        "what a hit is stamped by, its read or its arrival at the kernel (pool front, Linux)",
    ),
    flag(
        "workers",
        Takes::Number(1, 256),
        "1",
        "threads that handle requests",
    ),
    flag(
        "connections",
        Takes::Number(1, 1_000_000),
        "1024",
        "connections at once; for one more the longest idle is closed, or it is answered 503 if none is idle",
    ),
    flag(
        "head-bytes",
        Takes::Number(256, HEAD_BYTES_LIMIT as u64),
        "16384",
        "bytes of a request head, and twice those of its target; a longer one is answered 431 or 414",
    ),
    flag(
        "headers",
        Takes::Number(1, HEADERS_LIMIT as u64),
        "100",
        "header lines of a request head; one more is answered 431",
    ),
    flag(
        "body-bytes",
        Takes::Number(0, 1 << 40),
        "1048576",
        "bytes of a body by length behind which the connection is kept; a longer one is read too, and the answer says close",
    ),
    flag(
        "head-time",
        PATIENCE,
        "10s",
        "time for a request head from its first byte, else 408; a new connection may be silent as long",
    ),
    flag(
        "idle-time",
        PATIENCE,
        "60s",
        "time a connection may be idle or a body may stop; a body may take ten times this and 2ms for each byte",
    ),
    flag(
        "write-time",
        PATIENCE,
        "10s",
        "time a client may leave its answers unread",
    ),
    flag(
        "pass-hits",
        Takes::Number(1, 4096),
        "64",
        "requests of one connection that are taken before others have their turn",
    ),
];

/// The fronts there are.
fn front_names() -> String {
    front::Kind::ALL.map(front::Kind::name).join(", ")
}

/// The environment variable of a flag.
pub fn variable(name: &str) -> String {
    format!("TALLYD_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The default of a flag, and its variable if it has one: every flag of the server, and a command's window.
pub fn note(flag: &Flag, is_server: bool) -> String {
    let default = match flag.default {
        "" => "the window",
        default => default,
    };
    let mut note = format!("default: {default}");
    if is_server || [commands::WINDOW.name, "data"].contains(&flag.name) {
        note += &format!("; variable: {}", variable(flag.name));
    }
    note
}

/// What `--help` prints.
pub fn help() -> String {
    let mut text = String::from(
        "tallyd answers every HTTP request with the number of requests of the last 60\n\
         seconds, and keeps that number right across restarts, kills and power cuts.\n\n\
         usage: tallyd [--FLAG VALUE]...\n",
    );
    text.push_str(&commands::usages());
    text.push('\n');
    for flag in &FLAGS {
        text.push_str(&row(flag, &note(flag, true)));
    }
    text.push_str(
        "  -h, --help\n        this text\n  -V, --version\n        name and version\n\n\
         Durations carry their unit, such as 250ms, 60s or 1h.\n\
         An empty variable is unset.\n\
         TERM, INT, HUP and QUIT answer what is under way, sync and end; a second one\n\
         ends at once. USR1, USR2, ALRM and PIPE do nothing.\n\
         Exit status: 0 after such a signal, 1 after a failure, 2 after a usage error.\n",
    );
    text
}

/// A flag as the help shows it, with a note in brackets.
pub fn row(flag: &Flag, note: &str) -> String {
    let head = format!("  --{} {}", flag.name, flag.takes.value());
    let body = wrapped(&format!("{}{}", flag.help, flag.takes.limits()), 8);
    format!("{}\n{body}        [{note}]\n", head.trim_end())
}

/// `text` in lines of at most [`HELP_COLUMNS`], indented by `indent`.
pub fn wrapped(text: &str, indent: usize) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && indent + line.len() + 1 + word.len() > HELP_COLUMNS {
            let _infallible = writeln!(lines, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _infallible = writeln!(lines, "{:indent$}{line}", "");
    lines
}
