//! The one error of tallyd: what was tried, on what, where, and why it failed.
//!
//! Owns the wording. `Display` gives one line in lower case without a full stop, such as
//! `cannot bind 127.0.0.1:80: permission denied`. An error is returned or logged, never both;
//! only `main` prints one. Whatever a peer, a file name or a parameter has put into it is escaped, so that it
//! stays one line and steers no terminal.
//!
//! Must not know what anybody does about an error.

use crate::notation::printable;
use std::fmt;
use std::io;

/// The result of everything in tallyd that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, on which object, at which position, and the cause.
#[derive(Debug)]
pub struct Error {
    /// What was tried, as in `cannot bind`; empty where the object speaks for itself.
    operation: &'static str,
    /// The file, address or flag it was tried on.
    object: String,
    /// Where in the object, as in `record 41 at byte 392`.
    position: Option<String>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Text(String),
}

impl Error {
    /// The operating system said no: `cannot OPERATION OBJECT: cause`.
    #[must_use]
    pub fn io(operation: &'static str, object: impl Into<String>, cause: io::Error) -> Self {
        let cause = Cause::Io(cause);
        Self {
            operation,
            object: object.into(),
            position: None,
            cause,
        }
    }

    /// What was found is not what is allowed: `OBJECT: cause`.
    #[must_use]
    pub fn found(object: impl Into<String>, cause: impl Into<String>) -> Self {
        let cause = Cause::Text(cause.into());
        Self {
            operation: "",
            object: object.into(),
            position: None,
            cause,
        }
    }

    /// What is wrong, as a whole sentence that names its object: `SENTENCE`.
    #[must_use]
    pub fn said(sentence: impl Into<String>) -> Self {
        Self::found("", sentence)
    }

    /// The same error, with the place inside the object.
    #[must_use]
    pub fn at(mut self, position: impl Into<String>) -> Self {
        self.position = Some(position.into());
        self
    }

    /// The operating system's error behind this one, if there is one.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Io(cause) => Some(cause),
            Cause::Text(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        if !self.operation.is_empty() {
            text += &format!("cannot {} ", self.operation);
        }
        let object = Some(&self.object).filter(|object| !object.is_empty());
        for named in [object, self.position.as_ref()].into_iter().flatten() {
            text += &format!("{named}: ");
        }
        match &self.cause {
            Cause::Io(cause) => text += &io_text(cause),
            Cause::Text(cause) => text += cause,
        }
        f.write_str(&printable(&text))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io_error().map(|cause| cause as _)
    }
}

/// The system's own words, in lower case and without the number behind them.
#[must_use]
pub fn io_text(cause: &io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        // An abbreviation such as "I/O error" or "EOF" keeps its capitals.
        Some(first) if letters.as_str().starts_with(|c: char| c.is_lowercase()) => {
            first.to_lowercase().collect::<String>() + letters.as_str()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_object_and_cause_in_lower_case() {
        let denied = io::Error::from_raw_os_error(13);
        let error = Error::io("bind", "127.0.0.1:80", denied);
        assert_eq!(
            error.to_string(),
            "cannot bind 127.0.0.1:80: permission denied"
        );
    }

    #[test]
    fn an_error_is_one_line_that_steers_no_terminal() {
        let io = Error::io("open", "a\u{1b}[31m/b\n", io::Error::other("no\u{9b}2J\r"));
        assert_eq!(io.to_string(), r"cannot open a\u{1b}[31m/b\n: no\u{9b}2J\r");
        let found = Error::found("7\u{7}.seg", "held by \u{1b}c").at("\u{0}");
        assert_eq!(found.to_string(), r"7\u{7}.seg: \u{0}: held by \u{1b}c");
        assert_eq!(Error::said("a\tb is c").to_string(), r"a\tb is c");
    }

    #[test]
    fn a_finding_names_the_position() {
        let error = Error::found("7.seg", "check failed").at("record 41 at byte 392");
        assert_eq!(
            error.to_string(),
            "7.seg: record 41 at byte 392: check failed"
        );
    }
}
