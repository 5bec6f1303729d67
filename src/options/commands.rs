//! The table of commands beside serving, with their flags: `tallyd count | dump | verify | plot | clock`.
//!
//! Owns what there is, and the help that is formatted from it; what is said of a default here is what
//! the arguments are read with.
//!
//! Must not know what the commands do. Invariant: no line of help is wider than 80 columns.

use super::table::{FLAGS, Flag, HISTORY, Takes, flag, note, row, variable, wrapped};
use std::ffi::OsStr;

/// A row of the table.
pub struct Row {
    /// What follows `tallyd`.
    pub name: &'static str,
    /// What it works on.
    pub operands: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
    /// What else there is to say.
    pub notes: &'static str,
}

/// The window of what is counted or drawn.
pub const WINDOW: Flag = flag(
    "window",
    HISTORY,
    "60s",
    "the span that ends now; of a URL, by default, the window of its server",
);
const DIR_OR_URL: &str = "DIR is a data directory, which is only read, beside a running server too; \
    URL is the operator's listener of a running server, as http://127.0.0.1:8081. It is asked directly, \
    not through a proxy: a listener that does not identify itself as an admin listener of tallyd is an \
    error, and a hits listener counts nothing of that.";

/// Every command there is.
pub const COMMANDS: [Row; 7] = [
    Row {
        name: "count",
        operands: "[DIR|URL]...",
        help: "prints the exact number of hits in a span of time; of several journals, each and the sum",
        flags: &[
            WINDOW,
            flag(
                "from",
                Takes::Rfc3339,
                "the window",
                "count the hits after this instant, in place of a window",
            ),
            flag(
                "to",
                Takes::Rfc3339,
                "now",
                "and up to this one, itself included; needs --from",
            ),
        ],
        notes: "A number that cannot be exact, since older hits are no longer kept, is an error.",
    },
    Row {
        name: "dump",
        operands: "[DIR]",
        help: "prints every hit that is kept, oldest first",
        flags: &[
            flag(
                "format",
                Takes::Word(&["text", "csv", "json", "raw"]),
                "text",
                "what a hit is written as: its instant; sequence number, instant and stamp in ns; \
                 the same as an object; or ns since 1970 in eight bytes, big-endian and signed",
            ),
            flag(
                "from",
                Takes::Rfc3339,
                "the oldest hit that is kept",
                "only hits after this instant",
            ),
            flag(
                "to",
                Takes::Rfc3339,
                "the newest hit",
                "only hits up to this instant, itself included",
            ),
        ],
        notes: "The sequence number of a hit is the number of hits before it; its stamp is in ns after \
            the boot it was received in. A damaged record is written with the instant of the hit before \
            it, and reported.",
    },
    Row {
        name: "verify",
        operands: "[DIR]",
        help: "checks every header and every record, and names file, position and cause of each fault",
        flags: &[],
        notes: "Exit status: 0 if all is sound, 1 if anything is damaged or cannot be read, 2 after a \
            usage error. What a kill has torn off the end is no fault.",
    },
    Row {
        name: "plot",
        operands: "[DIR|URL]",
        help: "draws hits per step as a chart as wide as the terminal, or 80 columns",
        flags: &[
            WINDOW,
            flag(
                "step",
                HISTORY,
                "a round one, about a 60th of the window",
                "the span of one count, which must divide the window; at most 10000 steps",
            ),
            flag(
                "align",
                Takes::Switch,
                "no",
                "steps at whole multiples of the step since 1970, so that a step that is over stays as it is; \
                 the last one may still run",
            ),
            flag(
                "watch",
                Takes::Switch,
                "no",
                "draw again each second until interrupted",
            ),
            flag(
                "times",
                Takes::Number(1, 1_000_000),
                "without end",
                "how often --watch draws",
            ),
        ],
        notes: "The width is that of COLUMNS if it is set. Where LC_ALL, LC_CTYPE and LANG do not say UTF-8 \
            it is drawn in ASCII.",
    },
    Row {
        name: "clock",
        operands: "",
        help: "measures what a hit costs on this machine, how precise its stamp is, and what follows",
        flags: &[
            flag(
                "data",
                Takes::Directory,
                "tallyd-data",
                "where syncs are measured: in a directory of its own in DIR, or beside it if there is no DIR \
                 yet, which is removed again",
            ),
            flag("json", Takes::Switch, "no", "one object in place of tables"),
        ],
        notes: "It takes less than 5 seconds and writes about 10 MB. A server may run beside it, and both \
            are slower for it; nothing else should.",
    },
    Row {
        name: "completions",
        operands: "bash|zsh|fish",
        help: "prints completions for a shell",
        flags: &[],
        notes: "bash and fish read them from standard input: source <(tallyd completions bash), or \
            tallyd completions fish | source; zsh wants them as _tallyd in a directory of its fpath.",
    },
    Row {
        name: "man",
        operands: "",
        help: "prints the man page",
        flags: &[],
        notes: "It is read with man --local-file -, or mandoc, from standard input.",
    },
];

/// The command of that name.
pub fn named(name: &OsStr) -> Option<&'static Row> {
    COMMANDS.iter().find(|row| row.name == name)
}

/// What each command takes and is for.
pub fn usages() -> String {
    let usage = |row: &Row| format!("       {}\n{}", row.usage(), wrapped(row.help, 12));
    COMMANDS.iter().map(usage).collect::<String>()
        + "       tallyd COMMAND --help\n            what a command takes\n"
}

impl Row {
    fn usage(&self) -> String {
        format!("tallyd {} {}", self.name, self.takes())
            .trim_end()
            .to_owned()
    }

    /// What follows its name.
    pub fn takes(&self) -> String {
        match self.flags {
            [] => self.operands.to_owned(),
            _ => format!("[--FLAG VALUE]... {}", self.operands)
                .trim_end()
                .to_owned(),
        }
    }
}

/// What `tallyd COMMAND --help` prints.
pub fn help(row_of: &Row) -> String {
    let Row {
        name,
        operands,
        help,
        flags,
        notes,
    } = row_of;
    let mut text = wrapped(&format!("tallyd {name} {help}."), 0);
    text += &format!("\nusage: {}\n\n", row_of.usage());
    if operands.contains("DIR") {
        let operand = if operands.contains("URL") {
            DIR_OR_URL
        } else {
            "DIR is a data directory, which is only read, beside a running server too."
        };
        text += &wrapped(operand, 2);
        text += &format!(
            "        [default: {}; variable: {}]\n",
            data_flag().default,
            variable("data")
        );
    }
    for flag in *flags {
        text += &row(flag, &note(flag, false));
    }
    text += "  -h, --help\n        this text\n\n";
    text += &wrapped(notes, 0);
    if flags
        .iter()
        .any(|flag| matches!(flag.takes, Takes::Span(..)))
    {
        text += "Durations carry their unit, such as 250ms, 60s or 1h.\n";
    }
    if flags
        .iter()
        .any(|flag| matches!(flag.takes, Takes::Rfc3339))
    {
        text += &wrapped(
            "An instant is RFC 3339 with any offset, such as 2026-11-23T20:08:59.739840268Z or \
             2026-11-23T22:08:59+02:00, or epoch seconds, such as 1795464539.739840268; a second has at \
             most nine digits.",
            0,
        );
    }
    text
}

/// Where a journal is looked for if nothing is said.
pub fn data_flag() -> &'static Flag {
    let flag = FLAGS.iter().find(|flag| flag.name == "data");
    flag.expect("the server's table has it")
}
