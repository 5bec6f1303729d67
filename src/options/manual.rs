//! The man page, written from the tables of options and commands.
//!
//! Owns its words beside the tables: what is said of signals, files and exit status is what `serve.rs` and
//! `main.rs` do. Markup is that of man(7), which groff and mandoc both read.
//!
//! Must not know what the options do. Invariant: whatever text comes in, none of it is taken for markup.

use super::commands::{COMMANDS, Row};
use super::table::{FLAGS, Flag, note, variable, wrapped};
use std::fmt::Write;

const EXAMPLES: [(&str, &str); 4] = [
    (
        "serve on a free port, with an hour of history",
        "tallyd --listen 127.0.0.1:0 --retain 1h",
    ),
    (
        "hit it, and be told the tally",
        "curl http://127.0.0.1:8080/",
    ),
    (
        "ask without hitting",
        "curl 'http://127.0.0.1:8081/count?window=10s'",
    ),
    (
        "count what the last ten seconds had",
        "tallyd count --window 10s tallyd-data",
    ),
];

/// The page, in the markup of man(7).
pub fn manual() -> String {
    let mut page = Page(String::new());
    let version = env!("CARGO_PKG_VERSION");
    page.put(&format!(
        ".TH TALLYD 1 \"\" \"tallyd {version}\" \"User Commands\""
    ));
    page.section("NAME");
    page.text("tallyd - an exact count of the HTTP requests of the last 60 seconds");
    page.section("SYNOPSIS");
    page.usage("tallyd", "[--FLAG VALUE]...");
    for row in &COMMANDS {
        page.put(".br");
        page.usage(&format!("tallyd {}", row.name), &row.takes());
    }
    page.section("DESCRIPTION");
    page.text(
        "tallyd answers every HTTP request with the number of requests of the last 60 seconds, and keeps that \
         number right across restarts, kills and power cuts. Every complete request head counts, whatever its \
         method, path, headers or body. Nothing that is asked of the operator's listener counts.",
    );
    page.section("OPTIONS");
    for flag in &FLAGS {
        page.flag(flag, true);
    }
    page.tagged("-h, --help", "prints what there is.");
    page.tagged("-V, --version", "prints name and version.");
    page.put(".PP");
    page.text(
        "Durations carry their unit, such as 250ms, 60s or 1h. A flag goes before its variable, and the variable \
         before the default.",
    );
    page.section("COMMANDS");
    for row in &COMMANDS {
        page.command(row);
    }
    page.section("ENVIRONMENT");
    for flag in &FLAGS {
        page.tagged(
            &variable(flag.name),
            &format!("what --{} is without the flag.", flag.name),
        );
    }
    page.put(".PP");
    page.text(
        "An empty variable is unset. Another one whose name begins with TALLYD_ is ignored with a warning.",
    );
    page.section("SIGNALS");
    page.tagged(
        "TERM, INT, HUP, QUIT",
        "answers what is under way, syncs and ends; a second one ends at once, with exit status 1. HUP stays \
         ignored where it was at the start, as under nohup(1).",
    );
    page.tagged(
        "USR1, USR2, ALRM, PIPE",
        "does nothing. Every other signal has the effect that the kernel gives it.",
    );
    page.section("FILES");
    page.tagged("tallyd-data", "the journal, unless --data says otherwise.");
    page.tagged(
        "tallyd-data/lock",
        "the number of the process that has the journal.",
    );
    page.tagged("tallyd-data/*.seg", "its segments.");
    page.section("EXIT STATUS");
    page.text(
        "0 after TERM, INT, HUP or QUIT, or when a command is done; 1 after a failure; 2 after a usage error.",
    );
    page.section("EXAMPLES");
    for (what, how) in EXAMPLES {
        page.tagged(how, &format!("{what}."));
    }
    page.0
}

/// The page in the making.
struct Page(String);

impl Page {
    fn put(&mut self, line: &str) {
        let _infallible = writeln!(self.0, "{line}");
    }

    fn section(&mut self, name: &str) {
        self.put(&format!(".SH {name}"));
    }

    fn text(&mut self, text: &str) {
        for line in wrapped(&escaped(text), 0).lines() {
            // A point at the beginning of a line would be markup.
            let guard = if line.starts_with('.') { "\\&" } else { "" };
            self.put(&format!("{guard}{line}"));
        }
    }

    fn usage(&mut self, name: &str, takes: &str) {
        self.put(&format!(".B {}", escaped(name)));
        if !takes.is_empty() {
            self.text(takes);
        }
    }

    /// A paragraph behind a tag.
    fn tagged(&mut self, tag: &str, text: &str) {
        self.put(".TP");
        self.put(&format!(".B {}", escaped(tag)));
        self.text(text);
    }

    fn flag(&mut self, flag: &Flag, is_server: bool) {
        let tag = format!("--{} {}", flag.name, flag.takes.value());
        let text = format!("{}{}.", flag.help, flag.takes.limits());
        self.tagged(tag.trim_end(), &text);
        self.put(".br");
        self.text(&format!("[{}]", note(flag, is_server)));
    }

    fn command(&mut self, row: &Row) {
        self.put(&format!(
            ".SS \"tallyd {}\"",
            escaped(&format!("{} {}", row.name, row.operands)).trim_end()
        ));
        self.text(&format!("{}. {}", row.help, row.notes));
        for flag in row.flags {
            self.flag(flag, false);
        }
    }
}

/// `text` in one line, with nothing in it that is markup anywhere but at its beginning.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '`' => out.push_str("\\(ga"),
            ' '..='\x7e' => out.push(letter),
            '\n' => out.push(' '),
            _ => {
                let _infallible = write!(out, "\\[u{:04X}]", u32::from(letter));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_default_and_variable_is_on_the_page() {
        // Lines are broken between words.
        let page = manual().replace('\n', " ");
        let of_commands = COMMANDS.iter().flat_map(|row| row.flags);
        for flag in FLAGS.iter().chain(of_commands) {
            for part in [&*format!("--{}", flag.name), flag.default, flag.help] {
                assert!(page.contains(&escaped(part)), "{part}");
            }
        }
        for flag in &FLAGS {
            let variable = variable(flag.name);
            assert!(
                page.matches(&variable).count() >= 2,
                "{variable}: in OPTIONS and ENVIRONMENT"
            );
        }
        for row in &COMMANDS {
            assert!(page.contains(&escaped(row.notes)), "{}", row.name);
        }
    }

    #[test]
    fn no_line_ends_with_a_blank() {
        let page = manual();
        let mut lines = page.lines().filter(|line| line.ends_with(' '));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn no_text_is_taken_for_markup() {
        let mut page = Page(String::new());
        page.text(".x \\n 'a-b' \u{e9}");
        assert_eq!(page.0, "\\&.x \\en \\(aqa\\-b\\(aq \\[u00E9]\n");
    }
}
