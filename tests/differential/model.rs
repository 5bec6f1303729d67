//! The grammar of requests, a second time: slow, by lines, and from the whole of what was sent.
//!
//! Owns RFC 9112 as the server narrows it, without its parser: a line is right if it can be taken apart
//! as the grammar says, and a line that is not complete is wrong if no ending makes a right one of it.
//!
//! Must not know how the server reads, or in what pieces. Invariant: nothing here is shared with the
//! server but the words for a verdict.

use super::support::talking::Told;
use tallyd::front::pool::limits::Limits;
use tallyd::front::pool::request::{Refusal, Version};
use tallyd::front::pool::talk::{Answer, Form, Owes};

/// What has to come of a client that has sent `stream` and sends no more.
pub fn expected(stream: &[u8], limits: &Limits) -> Told {
    let mut answers = Vec::new();
    let mut hit_count = 0;
    let mut rest = stream;
    let (closes, owes, left) = loop {
        while let Some(behind) = after_blank_line(rest) {
            rest = behind;
        }
        if rest.is_empty() || rest == b"\r" {
            break (false, Owes::Nothing, rest.len());
        }
        let (request, head_bytes) = match head(rest, limits) {
            Ok(Some(found)) => found,
            Ok(None) => break (false, Owes::Head, rest.len()),
            Err(refusal) => {
                answers.push(Answer::Refused(refusal));
                break (true, Owes::Nothing, 0);
            }
        };
        rest = &rest[head_bytes..];
        hit_count += 1;
        let past_bound =
            matches!(request.body, Body::Length(bytes) if bytes > limits.body_bytes_max);
        if request.asks {
            answers.push(Answer::Continue);
        }
        let stays = request.stays && !past_bound;
        answers.push(Answer::Response(Form {
            version: request.version,
            stays,
            is_head: request.is_head,
        }));
        let end = match request.body {
            Body::Length(bytes) if bytes > rest.len() as u64 => End::Short,
            Body::Length(bytes) => End::At(bytes as usize),
            Body::Chunked => chunks(rest),
        };
        match end {
            End::At(bytes) if stays => rest = &rest[bytes..],
            End::At(_) | End::Malformed => break (true, Owes::Nothing, 0),
            End::Short => break (!stays, Owes::Body, 0),
        }
    };
    Told {
        answers,
        hit_count,
        closes,
        owes,
        left,
    }
}

fn after_blank_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(b"\r\n").or(bytes.strip_prefix(b"\n"))
}

enum Body {
    Length(u64),
    Chunked,
}

struct Request {
    version: Version,
    is_head: bool,
    stays: bool,
    asks: bool,
    body: Body,
}

const BAD: Refusal = Refusal::BadRequest;

/// The head at the beginning of `bytes` and its length, or nothing if it is not all there.
fn head(bytes: &[u8], limits: &Limits) -> Result<Option<(Request, usize)>, Refusal> {
    let within = &bytes[..bytes.len().min(limits.head_bytes_max)];
    let mut lines = within.split_inclusive(|&byte| byte == b'\n');
    let first = lines.next().expect("there are bytes");
    if target_bytes(first) > limits.head_bytes_max / 2 {
        return Err(Refusal::TargetTooLong);
    }
    let mut head_bytes = first.len();
    if is_whole(first) {
        let (method, target, version) = request_line(first)?;
        let mut fields = Vec::new();
        for line in lines {
            head_bytes += line.len();
            if !is_whole(line) {
                check_unfinished(line, &["a:\n", ":\n", "\n"], |line| field(line).map(drop))?;
            } else if let Some(found) = field(line)? {
                fields.push(found);
                if fields.len() > limits.headers_max {
                    return Err(Refusal::HeadTooLarge);
                }
            } else {
                return judge(&method, &target, version, &fields)
                    .map(|request| Some((request, head_bytes)));
            }
        }
    } else {
        const WHOLE: &str = "a / HTTP/1.1\n";
        let endings: Vec<&str> = (0..WHOLE.len()).map(|from| &WHOLE[from..]).collect();
        check_unfinished(first, &endings, |line| request_line(line).map(drop))?;
    }
    if within.len() == limits.head_bytes_max {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(None)
}

fn is_whole(line: &[u8]) -> bool {
    line.ends_with(b"\n")
}

/// A line that is not all there is refused if every ending would have it refused.
fn check_unfinished(
    line: &[u8],
    endings: &[&str],
    check: impl Fn(&[u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let fits = |ending: &&str| check(&[line, ending.as_bytes()].concat()) != Err(BAD);
    if endings.iter().any(fits) {
        Ok(())
    } else {
        Err(BAD)
    }
}

/// How long the target is, as far as it is there.
fn target_bytes(line: &[u8]) -> usize {
    let mut parts = line.splitn(2, |&byte| byte == b' ');
    match (parts.next(), parts.next()) {
        (Some(method), Some(rest)) if is_token(method) => {
            let end = rest.iter().position(|&byte| byte <= b' ' || byte == 0x7f);
            end.unwrap_or(rest.len())
        }
        _ => 0,
    }
}

/// A whole line without its end.
fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").expect("a whole line");
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Method, target and version.
type RequestLine = (Vec<u8>, Vec<u8>, Version);

fn request_line(line: &[u8]) -> Result<RequestLine, Refusal> {
    let parts: Vec<&[u8]> = content(line).split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(BAD);
    };
    let is_seen = |&byte: &u8| byte > b' ' && byte != 0x7f;
    if !is_token(method) || target.is_empty() || !target.iter().all(is_seen) {
        return Err(BAD);
    }
    let [
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        major @ b'0'..=b'9',
        b'.',
        minor @ b'0'..=b'9',
    ] = version
    else {
        return Err(BAD);
    };
    let version = match (major, minor) {
        (b'1', b'0') => Version::Http10,
        (b'1', _) => Version::Http11,
        _ => return Err(Refusal::VersionUnknown),
    };
    Ok((method.to_vec(), target.to_vec(), version))
}

fn is_host(bytes: &[u8]) -> bool {
    let other = |byte: u8| b"-._~!$&'()*+;=%:[]".contains(&byte);
    let fits = |&byte: &u8| byte.is_ascii_alphanumeric() || other(byte);
    bytes.iter().all(fits)
}

/// Whether a target is one of the four forms, and one that `method` takes.
fn is_taken(method: &[u8], target: &[u8]) -> bool {
    // Latin-1, so that every byte is one letter.
    let target: String = target.iter().map(|&byte| char::from(byte)).collect();
    let latin_host = |host: &str| host.is_ascii() && is_host(host.as_bytes());
    if method == b"CONNECT" {
        return target.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && latin_host(host)
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok()
        });
    }
    let is_absolute = target.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?']).next().expect("one part");
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
            && latin_host(host)
            && !host.is_empty()
            && !host.starts_with(':')
    });
    let is_asterisk = method == b"OPTIONS" && target == "*";
    !target.contains('#') && (target.starts_with('/') || is_asterisk || is_absolute)
}

/// A name in small letters, and a value without the blanks around it.
type Field = (String, Vec<u8>);

/// A field's line, or nothing if it is the blank one.
fn field(line: &[u8]) -> Result<Option<Field>, Refusal> {
    let line = content(line);
    if line.is_empty() {
        return Ok(None);
    }
    let colon = line.iter().position(|&byte| byte == b':').ok_or(BAD)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) || !is_text(value) {
        return Err(BAD);
    }
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    Ok(Some((name, trimmed(value).to_vec())))
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', inner @ ..] | [inner @ .., b' ' | b'\t'] = value {
        value = inner;
    }
    value
}

fn is_token(bytes: &[u8]) -> bool {
    let other = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    let fits = |&byte: &u8| byte.is_ascii_alphanumeric() || other(byte);
    !bytes.is_empty() && bytes.iter().all(fits)
}

fn is_text(bytes: &[u8]) -> bool {
    let fits = |&byte: &u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    bytes.iter().all(fits)
}

/// What the fields of a head say together.
fn judge(
    method: &[u8],
    target: &[u8],
    version: Version,
    fields: &[Field],
) -> Result<Request, Refusal> {
    if !is_taken(method, target) {
        return Err(BAD);
    }
    let all = |wanted: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| &value[..]).collect()
    };
    let lists = |wanted: &str, word: &str| {
        let values = all(wanted);
        let mut words = values
            .iter()
            .flat_map(|value| value.split(|&byte| byte == b','));
        words.any(|found| trimmed(found).eq_ignore_ascii_case(word.as_bytes()))
    };
    let is_new = version == Version::Http11;
    match all("host")[..] {
        [] if is_new => return Err(BAD),
        [] => {}
        [host] if is_host(host) => {}
        _ => return Err(BAD),
    }
    let mut lengths = Vec::new();
    for value in all("content-length") {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(BAD);
        }
        let text = std::str::from_utf8(value).expect("digits");
        lengths.push(text.parse::<u64>().map_err(|_| BAD)?);
    }
    // All lines of codings make one list.
    let codings = all("transfer-encoding").join(&b","[..]);
    let codings = match all("transfer-encoding").len() {
        0 => Vec::new(),
        _ => codings.split(|&byte| byte == b',').map(trimmed).collect(),
    };
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_legal = |coding: &[u8]| {
        let name = coding.split(|&byte| byte == b';').next().expect("one part");
        is_token(trimmed(name)) && (is_chunked(coding) || !is_chunked(trimmed(name)))
    };
    let before_last = &codings[..codings.len().saturating_sub(1)];
    if !codings.iter().all(|coding| is_legal(coding))
        || before_last.iter().any(|coding| is_chunked(coding))
    {
        return Err(BAD);
    }
    let body = match (&codings[..], &lengths[..]) {
        ([], []) => Body::Length(0),
        ([], [length]) => Body::Length(*length),
        ([_, ..], []) if is_new => Body::Chunked,
        _ => return Err(BAD),
    };
    let is_known = codings.is_empty() || codings.len() == 1 && is_chunked(codings[0]);
    if !is_known || matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Refusal::NotImplemented);
    }
    let asks = lists("expect", "100-continue") && is_new && !matches!(body, Body::Length(0));
    let keeps = is_new || lists("connection", "keep-alive");
    Ok(Request {
        version,
        is_head: method == b"HEAD",
        stays: keeps && !lists("connection", "close"),
        asks,
        body,
    })
}

/// Where a body ends.
enum End {
    At(usize),
    Short,
    Malformed,
}

/// Where a body in chunks ends.
fn chunks(bytes: &[u8]) -> End {
    let mut at = 0;
    loop {
        let mut bytes_of_line = 1;
        let size = loop {
            if at + bytes_of_line > bytes.len() {
                return End::Short;
            }
            match chunk_line(&bytes[at..at + bytes_of_line]) {
                None => return End::Malformed,
                Some((size, true)) => break size,
                Some((_, false)) => bytes_of_line += 1,
            }
        };
        at += bytes_of_line;
        if size == 0 {
            break;
        }
        at = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        for wanted in *b"\r\n" {
            match bytes.get(at) {
                None => return End::Short,
                Some(&byte) if byte != wanted => return End::Malformed,
                Some(_) => at += 1,
            }
        }
    }
    trailers(&bytes[at..], at)
}

/// The size in a chunk line as far as it is there, and whether it is whole;
/// nothing if no line begins like this.
fn chunk_line(line: &[u8]) -> Option<(u64, bool)> {
    let is_whole = line.ends_with(b"\r\n");
    let line = line
        .strip_suffix(b"\n")
        .filter(|_| is_whole)
        .unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_digit = |byte: &&u8| byte.is_ascii_hexdigit();
    let (size, rest) = line.split_at(line.iter().take_while(is_digit).count());
    let size = std::str::from_utf8(size).expect("digits");
    let size = u64::from_str_radix(size, 16).ok()?;
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let blanks = rest.iter().take_while(is_blank).count();
    match &rest[blanks..] {
        [] => Some((size, is_whole)),
        [b';', extension @ ..] if is_text(extension) => Some((size, is_whole)),
        _ => None,
    }
}

/// Where trailers end that begin at `at`.
fn trailers(bytes: &[u8], mut at: usize) -> End {
    let check = |line: &[u8]| match line.ends_with(b"\r\n") {
        true => field(line),
        false => Err(BAD),
    };
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        if is_whole(line) {
            match check(line) {
                Err(_) => return End::Malformed,
                Ok(None) => return End::At(at),
                Ok(Some(_)) => {}
            }
        } else if check_unfinished(line, &["a:\r\n", ":\r\n", "\r\n", "\n"], |line| {
            check(line).map(drop)
        })
        .is_err()
        {
            return End::Malformed;
        }
    }
    End::Short
}
