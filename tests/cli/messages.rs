//! Every message in the sources of the command line is named by a test.
//!
//! Owns the search: each string of the production code that has a blank in it is a message, unless the list
//! below says what else it is. Its fixed pieces have to stand in one of the tests named beside its file.
//!
//! Must not know what a message means. Invariant: a new message without a test fails here.

use std::fs;
use std::path::{Path, PathBuf};

/// Sources whose messages are looked for, and the tests that name them.
const SOURCES: [(&str, &[&str]); 14] = [
    ("src/main.rs", &["tests/cli/errors.rs"]),
    ("src/options/mod.rs", &["tests/cli/errors.rs"]),
    ("src/options/arguments.rs", &["tests/cli/errors.rs"]),
    ("src/options/tasks.rs", &["tests/cli/errors.rs"]),
    ("src/options/environment.rs", &["src/options/tests.rs"]),
    ("src/serve.rs", &["tests", "src/serve.rs"]),
    (
        "src/supervise.rs",
        &["tests/supervise.rs", "src/supervise.rs"],
    ),
    ("src/signals.rs", &["tests/signals.rs"]),
    ("src/alarm.rs", &["tests/alarm.rs", "src/alarm.rs"]),
    ("src/report.rs", &["tests/logs.rs", "src/report.rs"]),
    ("src/front/pool/limits.rs", &["tests/admission.rs"]),
    ("src/front/pool/mod.rs", &["tests/admission.rs"]),
    // The tables of `clock` are figures, which its own tests hold.
    ("src/inspect/clock.rs", &["tests/clock_command.rs"]),
    (
        "src/inspect",
        &[
            "tests/inspect",
            "src/inspect",
            "tests/cli/errors.rs",
            "tests/lives.rs",
        ],
    ),
];

/// Strings that are no message, or one that no test can bring about, and why.
const EXCEPTIONS: [(&str, &str); 9] = [
    ("start thread", "root is given threads without a limit"),
    (
        "{error}; it will not be known that this server ran",
        "as above",
    ),
    (
        "the listener",
        "the kernel takes these options of every TCP socket",
    ),
    ("kernel stamps", "as above"),
    (
        "the host has no address",
        "a resolver that finds nothing reports an error",
    ),
    (
        "GET {target} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n",
        "a request",
    ),
    ("{window} ago", "a part of a chart"),
    ("a record", "a figure"),
    (
        "segments are retired faster than they can be read",
        "a hundred looks in a row would have to lose a race",
    ),
];

/// A string of a source file, with its line.
#[derive(Debug)]
struct Literal {
    line: usize,
    text: String,
    /// What stands before it, as far as it is one line.
    before: String,
}

/// The strings of Rust code, without those of comments.
fn literals(code: &str) -> Vec<Literal> {
    let letters: Vec<char> = code.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < letters.len() {
        match letters[at] {
            '\n' => line += 1,
            '/' if letters.get(at + 1) == Some(&'/') => {
                while at + 1 < letters.len() && letters[at + 1] != '\n' {
                    at += 1;
                }
            }
            // A character such as '"', which begins no string.
            '\'' if letters.get(at + 2) == Some(&'\'') => at += 2,
            '\'' if letters.get(at + 1) == Some(&'\\') && letters.get(at + 3) == Some(&'\'') => {
                at += 3
            }
            // A raw string, which ends with as many '#' as it begins with.
            'r' if is_raw(&letters, at) => {
                let hashes = letters[at + 1..]
                    .iter()
                    .take_while(|it| **it == '#')
                    .count();
                let begin = at + hashes + 2;
                let closes = |end: &usize| {
                    letters[*end] == '"'
                        && letters[end + 1..].iter().take(hashes).all(|it| *it == '#')
                };
                let end = (begin..letters.len()).find(closes).expect("its end");
                let text: String = letters[begin..end].iter().collect();
                line += text.matches('\n').count();
                found.push(Literal {
                    line,
                    text,
                    before: String::new(),
                });
                at = end + hashes;
            }
            '"' => {
                let (begin, mut text) = (at, String::new());
                let begin_line = line;
                at += 1;
                while letters[at] != '"' {
                    if letters[at] == '\\' {
                        at += 1;
                        match letters[at] {
                            'n' => text.push('\n'),
                            'r' => text.push('\r'),
                            '\n' => {
                                line += 1;
                                while letters[at + 1].is_whitespace() {
                                    at += 1;
                                }
                            }
                            other => text.push(other),
                        }
                    } else {
                        line += usize::from(letters[at] == '\n');
                        text.push(letters[at]);
                    }
                    at += 1;
                }
                let before: String = letters[begin.saturating_sub(80)..begin].iter().collect();
                found.push(Literal {
                    line: begin_line,
                    text,
                    before: before.trim_end().to_owned(),
                });
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether a raw string begins at `at`.
fn is_raw(letters: &[char], at: usize) -> bool {
    let is_word = at > 0 && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_');
    let behind = letters[at + 1..].iter().find(|it| **it != '#');
    (!is_word || letters[at - 1] == 'b') && behind == Some(&'"')
}

/// What of a format string is fixed.
fn pieces(template: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut depth = 0;
    for letter in template.chars() {
        match letter {
            '{' => {
                depth += 1;
                pieces.push(String::new());
            }
            '}' => depth -= 1,
            _ if depth == 0 => pieces.last_mut().expect("a piece").push(letter),
            _ => {}
        }
    }
    let pieces = pieces.iter().map(|piece| piece.trim().to_owned());
    pieces.filter(|piece| piece.len() > 2).collect()
}

/// The code of a file: all of a test, what is before the unit tests of a source, or only those.
fn read(path: &Path, of_tests: bool) -> String {
    let text = fs::read_to_string(path).expect("a file");
    let is_source = path.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let is_test = !is_source || path.to_str().is_some_and(|path| path.contains("tests"));
    let (code, tests) = match text.split_once("#[cfg(test)]") {
        Some((code, tests)) if !is_test => (code.to_owned(), tests.to_owned()),
        _ if is_test => (String::new(), text),
        _ => (text, String::new()),
    };
    if of_tests { tests } else { code }
}

/// The Rust files of `place`, which may be one itself.
fn files(place: &str) -> Vec<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    if place.is_file() {
        return vec![place];
    }
    let (mut found, mut folders) = (Vec::new(), vec![place]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Whether it is what a broken invariant says, which nobody can bring about.
fn is_claim(literal: &Literal) -> bool {
    let is_called = |call: &&str| literal.before.ends_with(call);
    ["expect(", "unreachable!("].iter().any(is_called) || literal.before.contains("assert!(")
}

#[test]
fn every_message_is_named_by_a_test() {
    let mut unnamed = Vec::new();
    for (source, tests) in SOURCES {
        let named: Vec<String> = tests
            .iter()
            .flat_map(|place| files(place))
            .flat_map(|path| literals(&read(&path, true)))
            .map(|literal| literal.text)
            .collect();
        assert!(!named.is_empty(), "{source} has tests");
        let is_figures = |path: &Path| path.to_string_lossy().contains("inspect/clock/");
        for path in files(source).iter().filter(|path| !is_figures(path)) {
            for literal in literals(&read(path, false)) {
                let is_message = literal.text.trim().contains(' ') && !is_claim(&literal);
                if !is_message || EXCEPTIONS.iter().any(|(text, _)| *text == literal.text) {
                    continue;
                }
                let pieces = pieces(&literal.text);
                let is_named = |text: &String| pieces.iter().all(|piece| text.contains(&**piece));
                if !named.iter().any(is_named) {
                    let shown = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("ours");
                    unnamed.push(format!(
                        "{}:{}: {:?}",
                        shown.display(),
                        literal.line,
                        literal.text
                    ));
                }
            }
        }
    }
    assert!(
        unnamed.is_empty(),
        "no test names these:\n{}",
        unnamed.join("\n")
    );
}
