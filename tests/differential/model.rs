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
        if request.asks && !past_bound {
            answers.push(Answer::Continue);
        }
        let stays = request.stays && !past_bound;
        answers.push(Answer::Response(Form {
            version: request.version,
            stays,
            is_head: request.is_head,
        }));
        let end = match request.body {
            Body::Length(_) if past_bound => End::PastBound,
            Body::Length(bytes) if bytes > rest.len() as u64 => End::Short,
            Body::Length(bytes) => End::At(bytes as usize),
            Body::Chunked => chunks(rest, limits.body_bytes_max),
        };
        match end {
            End::At(bytes) if stays => rest = &rest[bytes..],
            End::At(_) | End::PastBound => break (true, Owes::Nothing, 0),
            End::Short => break (!stays, Owes::Body, 0),
            End::Malformed => {
                if stays {
                    answers.push(Answer::Refused(Refusal::BadRequest));
                }
                break (true, Owes::Nothing, 0);
            }
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
        let (method, version) = request_line(first)?;
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
                return judge(&method, version, &fields).map(|request| Some((request, head_bytes)));
            }
        }
    } else {
        const WHOLE: &str = "a / HTTP/1.1\n";
        let endings: Vec<&str> = (0..WHOLE.len()).map(|from| &WHOLE[from..]).collect();
        // Whether a target is text is seen at its end, so until then it is taken for text.
        let mut line = first.to_vec();
        if line.iter().filter(|&&byte| byte == b' ').count() == 1 {
            let target = line.iter_mut().skip_while(|byte| **byte != b' ');
            target
                .filter(|byte| !byte.is_ascii())
                .for_each(|byte| *byte = b'a');
        }
        check_unfinished(&line, &endings, |line| request_line(line).map(drop))?;
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

fn request_line(line: &[u8]) -> Result<(Vec<u8>, Version), Refusal> {
    let parts: Vec<&[u8]> = content(line).split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(BAD);
    };
    let is_seen = |&byte: &u8| byte > b' ' && byte != 0x7f;
    if !is_token(method) || target.is_empty() || !target.iter().all(is_seen) {
        return Err(BAD);
    }
    std::str::from_utf8(target).map_err(|_| BAD)?;
    match version {
        b"HTTP/1.0" => Ok((method.to_vec(), Version::Http10)),
        b"HTTP/1.1" => Ok((method.to_vec(), Version::Http11)),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal::VersionUnknown)
        }
        _ => Err(BAD),
    }
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
fn judge(method: &[u8], version: Version, fields: &[Field]) -> Result<Request, Refusal> {
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
    let host_fits = |host: &[u8]| {
        let other = |byte: u8| b"-._~!$&'()*+;=%:[]".contains(&byte);
        host.iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || other(byte))
    };
    match all("host")[..] {
        [] if is_new => return Err(BAD),
        [] => {}
        [host] if host_fits(host) => {}
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
    lengths.dedup();
    let codings = all("transfer-encoding");
    let body = match (&codings[..], &lengths[..]) {
        ([], []) => Body::Length(0),
        ([], [length]) => Body::Length(*length),
        ([coding], []) if is_new && coding.eq_ignore_ascii_case(b"chunked") => Body::Chunked,
        _ => return Err(BAD),
    };
    let asks = lists("expect", "100-continue") && is_new && !matches!(body, Body::Length(0));
    let keeps = is_new || lists("connection", "keep-alive");
    Ok(Request {
        version,
        is_head: method == b"HEAD",
        stays: keeps && !lists("connection", "close") && method != b"CONNECT",
        asks,
        body,
    })
}

/// Where a body ends.
enum End {
    At(usize),
    Short,
    Malformed,
    PastBound,
}

/// Where a body in chunks ends.
fn chunks(bytes: &[u8], body_bytes_max: u64) -> End {
    let mut budget = body_bytes_max;
    let mut at = 0;
    loop {
        let mut bytes_of_line = 1;
        let size = loop {
            if at + bytes_of_line > bytes.len() {
                return End::Short;
            }
            if bytes_of_line > 256 {
                return End::PastBound;
            }
            match chunk_line(&bytes[at..at + bytes_of_line]) {
                None => return End::Malformed,
                Some((_, extension, _)) if extension > budget => return End::PastBound,
                Some((size, extension, true)) => {
                    budget -= extension;
                    break size;
                }
                Some((_, _, false)) => bytes_of_line += 1,
            }
        };
        at += bytes_of_line;
        if size > budget {
            return End::PastBound;
        }
        if size == 0 {
            break;
        }
        budget -= size;
        at += size as usize;
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

/// The size in a chunk line as far as it is there, the bytes of its extension, and whether it is whole;
/// nothing if no line begins like this.
fn chunk_line(line: &[u8]) -> Option<(u64, u64, bool)> {
    let is_whole = line.ends_with(b"\r\n");
    let is_ended = is_whole || line.ends_with(b"\r");
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
        // Blanks have to lead to an extension.
        [] if blanks > 0 && is_ended => None,
        [] => Some((size, 0, is_whole)),
        [b';', extension @ ..] if is_text(extension) => {
            Some((size, extension.len() as u64, is_whole))
        }
        _ => None,
    }
}

/// Where trailers end that begin at `at`.
fn trailers(bytes: &[u8], mut at: usize) -> End {
    const BYTES_MAX: usize = 4096;
    let check = |line: &[u8]| match line.ends_with(b"\r\n") {
        true => field(line),
        false => Err(BAD),
    };
    for line in bytes[..bytes.len().min(BYTES_MAX)].split_inclusive(|&byte| byte == b'\n') {
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
    if bytes.len() > BYTES_MAX {
        End::PastBound
    } else {
        End::Short
    }
}
