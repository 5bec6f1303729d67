//! Names and values, written as JSON for programs or as lines for people.
//!
//! Owns both notations. JSON is that of RFC 8259: whole numbers are written as they are; stamps and spans
//! go in as strings of digits, since a reader that takes numbers for doubles would lose their last ones.
//! A line is a name, a space and the value; what is in an object has the names of both, with a point
//! between them.
//!
//! Neither notation holds a character that a terminal would act on: lines write it as an escape, and JSON as
//! `\\u` with four digits.
//!
//! Must not know what is written. Invariant: what [`Fields::json`] gives is one JSON text and a newline.

use crate::notation::{is_acted_on, printable};
use std::fmt::{Display, Write};

/// Fields in the order they were added in.
pub struct Fields(Vec<(&'static str, Value)>);

enum Value {
    /// A number or a truth value.
    Bare(String),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<u64>),
    Object(Fields),
    Objects(Vec<Fields>),
}

impl Fields {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a number or a truth value, as it displays itself.
    pub fn bare(mut self, name: &'static str, value: impl Display) -> Self {
        self.0.push((name, Value::Bare(value.to_string())));
        self
    }

    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, Value::Text(value.into())));
        self
    }

    pub fn texts(mut self, name: &'static str, values: Vec<String>) -> Self {
        self.0.push((name, Value::Texts(values)));
        self
    }

    pub fn numbers(mut self, name: &'static str, values: Vec<u64>) -> Self {
        self.0.push((name, Value::Numbers(values)));
        self
    }

    /// Adds an object in this one.
    pub fn object(mut self, name: &'static str, value: Self) -> Self {
        self.0.push((name, Value::Object(value)));
        self
    }

    /// Adds a list of objects.
    pub fn objects(mut self, name: &'static str, values: Vec<Self>) -> Self {
        self.0.push((name, Value::Objects(values)));
        self
    }

    /// One object.
    pub fn json(&self) -> String {
        self.braced() + "\n"
    }

    fn braced(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| {
            let value = match value {
                Value::Bare(value) => value.clone(),
                Value::Text(text) => quoted(text),
                Value::Texts(texts) => list(texts.iter().map(|text| quoted(text))),
                Value::Numbers(numbers) => list(numbers.iter().map(u64::to_string)),
                Value::Object(object) => object.braced(),
                Value::Objects(objects) => list(objects.iter().map(Self::braced)),
            };
            format!("{}:{value}", quoted(name))
        });
        format!("{{{}}}", joined(pairs, ","))
    }

    /// A line for each field.
    pub fn lines(&self) -> String {
        self.lines_in("")
    }

    fn lines_in(&self, of: &str) -> String {
        let lines = self.0.iter().map(|(name, value)| match value {
            Value::Bare(value) => format!("{of}{name} {value}\n"),
            Value::Text(value) => format!("{of}{name} {}\n", printable(value)),
            Value::Texts(texts) => format!("{of}{name} {}\n", printable(&texts.join("; "))),
            Value::Numbers(numbers) => {
                let numbers = joined(numbers.iter().map(u64::to_string), " ");
                format!("{of}{name} {numbers}\n")
            }
            Value::Object(object) => object.lines_in(&format!("{of}{name}.")),
            Value::Objects(objects) => (objects.iter().zip(0..))
                .map(|(object, place)| object.lines_in(&format!("{of}{name}.{place}.")))
                .collect(),
        });
        lines.collect()
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", joined(items, ","))
}

fn joined(items: impl Iterator<Item = String>, between: &str) -> String {
    let mut text = String::new();
    for (place, item) in items.enumerate() {
        if place > 0 {
            text.push_str(between);
        }
        text.push_str(&item);
    }
    text
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            _ if is_acted_on(letter) => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields::new()
            .text("a", "c\"\\d\n\u{e9}")
            .bare("n", u64::MAX)
            .numbers("many", vec![1, 2])
            .texts("none", Vec::new())
    }

    #[test]
    fn what_json_does_not_take_as_it_is_comes_printable() {
        let expected = "{\"a\":\"c\\\"\\\\d\\u000a\u{e9}\",\"n\":18446744073709551615,\
                        \"many\":[1,2],\"none\":[]}\n";
        assert_eq!(fields().json(), expected);
    }

    #[test]
    fn every_field_is_a_line() {
        let expected = "a c\"\\d\\n\u{e9}\nn 18446744073709551615\nmany 1 2\nnone \n";
        assert_eq!(fields().lines(), expected);
    }

    #[test]
    fn no_control_character_comes_out_as_it_is() {
        let hostile = "a\u{1b}[31m\u{7f}\u{9b}2J\r\n\u{202e}z";
        let fields = Fields::new()
            .text("a", hostile)
            .texts("b", vec![hostile.to_owned()]);
        let json = fields.json();
        assert!(
            json.contains("a\\u001b[31m\\u007f\\u009b2J\\u000d\\u000a\\u202ez"),
            "{json}"
        );
        let line = r"a\u{1b}[31m\u{7f}\u{9b}2J\r\n\u{202e}z";
        assert_eq!(fields.lines(), format!("a {line}\nb {line}\n"));
    }

    #[test]
    fn objects_stand_in_objects_and_in_lists() {
        let inner = |n: u64| Fields::new().bare("n", n);
        let fields = Fields::new()
            .object("one", inner(1).object("deep", inner(2)))
            .objects("many", vec![inner(3), inner(4)])
            .objects("none", Vec::new());
        let expected =
            "{\"one\":{\"n\":1,\"deep\":{\"n\":2}},\"many\":[{\"n\":3},{\"n\":4}],\"none\":[]}\n";
        assert_eq!(fields.json(), expected);
        let expected = "one.n 1\none.deep.n 2\nmany.0.n 3\nmany.1.n 4\n";
        assert_eq!(fields.lines(), expected);
    }
}
