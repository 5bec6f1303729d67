//! The fields of a JSON object that a server has answered.
//!
//! Owns the reading of JSON by RFC 8259, as strict as it can be: a field that is missing, there twice or of
//! another kind is an error, and so is anything behind the object. Fields that nobody asks for may be of
//! any kind.
//!
//! Must not know what is asked. Invariant: no text makes the reader panic, recurse without a bound, or give a
//! number that does not stand in it.

use crate::notation::parse_instant;

/// How deep lists and objects may stand in each other.
const DEPTH_MAX: u32 = 16;

/// An object.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer(Vec<(String, Value)>);

#[derive(Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    /// A number or a literal name, as it stands there.
    Bare(String),
    /// A list of whole numbers.
    Numbers(Vec<u64>),
    /// What has no other use than to be there.
    Other,
}

impl Answer {
    /// Reads the one object in `text`.
    ///
    /// # Errors
    /// The text is anything else; the cause names the byte.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        reader.skip_blanks();
        let fields = reader.object(0);
        let end = fields.filter(|_| {
            reader.skip_blanks();
            reader.at == text.len()
        });
        end.map(Self)
            .ok_or_else(|| format!("no JSON object, from byte {} on", reader.at))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<&str, String> {
        match self.field(name)? {
            Value::Text(text) => Ok(text),
            _ => Err(format!("'{name}' is no text")),
        }
    }

    /// A whole number that stands there as a number.
    pub fn number(&self, name: &str) -> Result<u64, String> {
        let number = match self.field(name)? {
            Value::Bare(text) => whole(text),
            _ => None,
        };
        number.ok_or_else(|| format!("'{name}' is no whole number"))
    }

    /// A whole number that stands there as a text of digits.
    pub fn digits(&self, name: &str) -> Result<u64, String> {
        whole(self.text(name)?).ok_or_else(|| format!("'{name}' is no text of digits"))
    }

    /// An instant, in nanoseconds since 1970.
    pub fn instant_ns(&self, name: &str) -> Result<i64, String> {
        parse_instant(self.text(name)?).map_err(|cause| format!("'{name}': {cause}"))
    }

    /// A list of whole numbers.
    pub fn numbers(&self, name: &str) -> Result<&[u64], String> {
        match self.field(name)? {
            Value::Numbers(numbers) => Ok(numbers),
            _ => Err(format!("'{name}' is no list of whole numbers")),
        }
    }

    /// Whether a field is there and true.
    pub fn is_true(&self, name: &str) -> bool {
        self.field(name)
            .is_ok_and(|value| *value == Value::Bare("true".to_owned()))
    }

    fn field(&self, name: &str) -> Result<&Value, String> {
        let mut named = self.0.iter().filter(|(other, _)| other == name);
        match (named.next(), named.next()) {
            (Some((_, value)), None) => Ok(value),
            (None, _) => Err(format!("'{name}' is missing")),
            _ => Err(format!("'{name}' stands there twice")),
        }
    }
}

/// A whole number without a sign, as JSON writes it.
fn whole(text: &str) -> Option<u64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Takes `byte` and the blanks around it, if it is next.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_blanks();
        if self.peek()? != byte {
            return None;
        }
        self.at += 1;
        self.skip_blanks();
        Some(())
    }

    fn object(&mut self, depth: u32) -> Option<Vec<(String, Value)>> {
        let mut fields = Vec::new();
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(fields);
        }
        loop {
            let name = self.string()?;
            self.take(b':')?;
            fields.push((name, self.value(depth)?));
            if self.take(b',').is_none() {
                return self.take(b'}').map(|()| fields);
            }
        }
    }

    fn list(&mut self, depth: u32) -> Option<Value> {
        let mut numbers = Some(Vec::new());
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return numbers.map(Value::Numbers);
        }
        loop {
            let number = match self.value(depth)? {
                Value::Bare(text) => whole(&text),
                _ => None,
            };
            numbers = numbers.zip(number).map(|(mut numbers, number)| {
                numbers.push(number);
                numbers
            });
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(numbers.map_or(Value::Other, Value::Numbers));
            }
        }
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        match self.peek()? {
            b'"' => self.string().map(Value::Text),
            b'[' | b'{' if depth == DEPTH_MAX => None,
            b'[' => self.list(depth + 1),
            b'{' => self.object(depth + 1).map(|_| Value::Other),
            _ => self.bare(),
        }
    }

    fn bare(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter));
        let word = &rest[..end.unwrap_or(rest.len())];
        // A number is looked at closely once somebody asks for it.
        let digits = word.trim_start_matches('-');
        let is_number = digits.starts_with(|first: char| first.is_ascii_digit())
            && !digits.contains(|letter: char| {
                letter.is_ascii_alphabetic() && letter != 'e' && letter != 'E'
            });
        if !["true", "false", "null"].contains(&word) && !is_number {
            return None;
        }
        self.at += word.len();
        Some(Value::Bare(word.to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            let letter = self.text[self.at..].chars().next()?;
            self.at += letter.len_utf8();
            match letter {
                '"' => return Some(out),
                '\0'..='\x1f' => return None,
                '\\' => out.push(self.escape()?),
                _ => out.push(letter),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let kind = self.peek()?;
        self.at += 1;
        Some(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
                // Half of a pair stands for no character of its own; what needs one is not ours.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;

    #[test]
    fn what_fields_write_is_read_back() {
        let json = Fields::new()
            .text("from", "1970-01-01T00:00:01.000000005Z")
            .text("digits", "18446744073709551615")
            .text("odd", "c\"\\d\n\u{e9}\u{1b}")
            .bare("count", u64::MAX)
            .bare("rate", -0.25)
            .bare("estimated", true)
            .numbers("counts", vec![0, 7, u64::MAX])
            .numbers("none", Vec::new())
            .texts("reasons", vec!["a".to_owned()])
            .objects("down", vec![Fields::new().object("a", Fields::new())])
            .json();
        let answer = Answer::read(&json).expect("an object");
        assert_eq!(answer.instant_ns("from"), Ok(1_000_000_005));
        assert_eq!(answer.digits("digits"), Ok(u64::MAX));
        assert_eq!(answer.text("odd"), Ok("c\"\\d\n\u{e9}\u{1b}"));
        assert_eq!(answer.number("count"), Ok(u64::MAX));
        assert_eq!(answer.numbers("counts"), Ok(&[0, 7, u64::MAX][..]));
        assert_eq!(answer.numbers("none"), Ok(&[][..]));
        assert!(answer.is_true("estimated") && !answer.is_true("rate") && !answer.is_true("x"));
        assert!(answer.number("rate").is_err() && answer.numbers("reasons").is_err());
    }

    #[test]
    fn a_field_that_is_missing_twice_there_or_of_another_kind_is_an_error() {
        let read = |text: &str| Answer::read(text).and_then(|answer| answer.number("count"));
        assert_eq!(read(" {\"count\" : 7 }\n"), Ok(7));
        for (text, cause) in [
            ("{}", "'count' is missing"),
            ("{\"Count\":7}", "'count' is missing"),
            ("{\"a\":{\"count\":7}}", "'count' is missing"),
            ("{\"count\":7,\"count\":7}", "'count' stands there twice"),
            ("{\"count\":\"7\"}", "'count' is no whole number"),
            ("{\"count\":-7}", "'count' is no whole number"),
            ("{\"count\":7.0}", "'count' is no whole number"),
            ("{\"count\":7e0}", "'count' is no whole number"),
            ("{\"count\":07}", "'count' is no whole number"),
            ("{\"count\":[7]}", "'count' is no whole number"),
            (
                "{\"count\":18446744073709551616}",
                "'count' is no whole number",
            ),
        ] {
            assert_eq!(read(text), Err(cause.to_owned()), "{text}");
        }
    }

    #[test]
    fn any_other_text_is_an_error() {
        let whole = "{\"a\":[1,{\"b\":\"\\u001b\\n\"}],\"count\":7}";
        assert!(Answer::read(whole).is_ok());
        for end in 0..whole.len() {
            assert!(Answer::read(&whole[..end]).is_err(), "cut at {end}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for text in [
            "42\n",
            "[]",
            "{\"count\":7}{",
            "{\"count\":7}7",
            "{\"count\":7,}",
            "{count:7}",
            "{\"count\":+7}",
            "{\"count\":.7}",
            "{\"count\":inf}",
            "{\"count\":nan}",
            "{\"count\":True}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u+123\"}",
            "{\"a\":\"\\u12\u{e9}\"}",
            &deep,
        ] {
            assert!(Answer::read(text).is_err(), "{text:.40}");
        }
    }
}
