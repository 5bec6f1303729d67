//! The one error of tallyd: what was tried, on what, where, and why it failed.
//!
//! Owns the wording. `Display` gives one line in lower case without a full stop, such as
//! `cannot bind 127.0.0.1:80: permission denied`. An error is returned or logged, never both;
//! only `main` prints one.
//!
//! Must not know what anybody does about an error.

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
        if !self.operation.is_empty() {
            write!(f, "cannot {} ", self.operation)?;
        }
        write!(f, "{}: ", self.object)?;
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        match &self.cause {
            Cause::Io(cause) => f.write_str(&io_text(cause)),
            Cause::Text(cause) => f.write_str(cause),
        }
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
    fn a_finding_names_the_position() {
        let error = Error::found("7.seg", "check failed").at("record 41 at byte 392");
        assert_eq!(
            error.to_string(),
            "7.seg: record 41 at byte 392: check failed"
        );
    }
}
