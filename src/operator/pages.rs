//! The pages that are made in one piece: plain text for people and the shell, JSON for programs.
//!
//! Owns what each says. Numbers come from one answer of the funnel, so that those of a page are of one
//! instant.
//!
//! Must not know how pages go out. Invariant: an error has the form that was asked for, and a cause.

use super::Operator;
use super::question::{Format, Span};
use crate::fields::Fields;
use crate::front::ESTIMATED;
use crate::front::desk::Page;
use crate::front::gauges::Side;
use crate::hit::{Answer, Ask, Status};
use crate::notation::{duration, instant, printable};
use crate::stamp::{Anchor, SECOND_NS};
use std::borrow::Cow;

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The page for people, and what it may do: nothing but run its own script, which asks its own server. A
/// test says the digests anew when the page changes.
pub const PAGE: Page = Page {
    status: "200 OK",
    media: "text/html; charset=utf-8",
    headers: concat!(
        "Content-Security-Policy: default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; ",
        "form-action 'none'; frame-ancestors 'none'; style-src 'sha256-S8kXqXJSYpVXtqIC/oAFORsWui/EaDDYalwTgiaiB6w='; script-src 'sha256-MsxcRLV96432AEFsnOpXrGoQiz0NsOnw+plXXJJvqhI='\r\n",
        "Referrer-Policy: no-referrer\r\n"
    ),
    body: Cow::Borrowed(include_bytes!("page.html")),
};

pub fn plain(text: String) -> Page {
    page("200 OK", "", PLAIN, text)
}

pub fn json(fields: &Fields) -> Page {
    page("200 OK", "", JSON, fields.json())
}

/// A page that says what is wrong, with further `headers`. What was asked for may be part of the cause, so
/// no control character of it is echoed in either form.
pub fn error(status: &'static str, headers: &'static str, cause: &str, format: Format) -> Page {
    let cause = printable(cause);
    match format {
        Format::Plain => page(status, headers, PLAIN, format!("{cause}\n")),
        Format::Json => page(
            status,
            headers,
            JSON,
            Fields::new().text("error", cause).json(),
        ),
    }
}

/// That there is no right answer now.
pub fn unavailable(cause: &str, format: Format) -> Page {
    error("503 Service Unavailable", "", cause, format)
}

pub fn page(
    status: &'static str,
    headers: &'static str,
    media: &'static str,
    body: String,
) -> Page {
    Page {
        status,
        media,
        headers,
        body: Cow::Owned(body.into_bytes()),
    }
}

pub fn count(
    operator: &Operator,
    span: &Span,
    format: Format,
    now: Anchor,
) -> Result<Page, String> {
    let (from, to, ask) = match *span {
        Span::Window(window_ns) => {
            let ask = Ask::Count {
                window_ns,
                at: Some(now.at),
            };
            (now.at.before(window_ns), now.at, ask)
        }
        Span::Between(from, to) => (from, to, Ask::Between { from, to }),
    };
    let (answer, estimated) = operator.ask(ask, now)?.split();
    let Answer::Count(count) = answer else {
        unreachable!("a number of hits was asked for");
    };
    let headers = estimated_header(estimated);
    if format == Format::Plain {
        return Ok(page("200 OK", headers, PLAIN, format!("{count}\n")));
    }
    let fields = Fields::new()
        .text("from", instant(now.wall_at(from)))
        .text("to", instant(now.wall_at(to)))
        .bare("count", count)
        .bare("estimated", estimated);
    Ok(page("200 OK", headers, JSON, fields.json()))
}

/// What the head of an answer says of its numbers, if they are not exact.
pub const fn estimated_header(estimated: bool) -> &'static str {
    if estimated { ESTIMATED } else { "" }
}

pub fn total(operator: &Operator, format: Format, now: Anchor) -> Result<Page, String> {
    let status = operator.status(now)?;
    if format == Format::Plain {
        return Ok(plain(format!("{}\n", status.total)));
    }
    let fields = Fields::new()
        .text("at", instant(now.wall_at(status.at)))
        .bare("total", status.total);
    Ok(json(&fields))
}

/// Why a server is not ready: what `/readyz`, `/status` and `tallyd_ready` rest on.
pub fn reasons(status: &Result<Box<Status>, String>, draining: bool) -> Vec<String> {
    let draining = draining.then(|| "draining: the server is about to end".to_owned());
    let status = match status {
        Ok(status) => status,
        // A server that ends has said so already.
        Err(_) if draining.is_some() => return draining.into_iter().collect(),
        Err(cause) => return vec![cause.clone()],
    };
    let named = |what: &str, cause: &Option<String>| Some(format!("{what}: {}", cause.as_ref()?));
    let disk = named("disk refusing", &status.refusing)
        .or_else(|| named("journal unreadable", &status.unreadable));
    let sync = named("sync failing", &status.sync_failure);
    let files = named("files piling up", &status.piling_up);
    let all = disk.into_iter().chain(sync).chain(files);
    all.chain(draining).collect()
}

pub fn ready(operator: &Operator, format: Format, now: Anchor, draining: bool) -> Page {
    let reasons = reasons(&operator.status(now), draining);
    if reasons.is_empty() {
        return match format {
            Format::Plain => plain("ready\n".to_owned()),
            Format::Json => json(&Fields::new().bare("ready", true).texts("reasons", reasons)),
        };
    }
    const STATUS: &str = "503 Service Unavailable";
    match format {
        Format::Plain => {
            let lines = reasons.iter().map(|reason| printable(reason) + "\n");
            page(STATUS, "", PLAIN, lines.collect())
        }
        Format::Json => {
            let fields = Fields::new().bare("ready", false).texts("reasons", reasons);
            page(STATUS, "", JSON, fields.json())
        }
    }
}

/// How things stand, whatever is wrong: what has no right number now is `null`, and the reasons say why.
pub fn status(operator: &Operator, format: Format, now: Anchor, draining: bool) -> Page {
    let status = operator.status(now);
    let (facts, gauges) = (&operator.facts, &operator.gauges);
    let reasons = reasons(&status, draining);
    let seconds = |ns: u64| ns as f64 / SECOND_NS as f64;
    let status = status.as_deref().ok();
    let at = status.map_or(now.at, |status| status.at);
    let from = status.map(|status| status.complete_after.max(at.before(facts.retain_ns)));
    let number = |of: fn(&Status) -> u64| number(status.map(of));
    let quarantined = status.map(|status| status.quarantined.clone());
    let quarantined = quarantined.unwrap_or_default();
    let refused = status.map(|status| status.refused_count + gauges.all_refused());
    let fields = Fields::new()
        .text("at", instant(now.wall_at(at)))
        .text("version", env!("CARGO_PKG_VERSION"))
        .bare("uptime_seconds", seconds(at.since(facts.began)))
        .bare(
            "tally",
            self::number(status.and_then(|status| status.tally)),
        )
        .bare("total", number(|status| status.total))
        .bare("estimated", status.is_none_or(|status| status.estimated))
        .bare("ready", reasons.is_empty())
        .texts("reasons", reasons)
        .texts("doubts", facts.doubt.iter().cloned().collect())
        .bare("refused", self::number(refused))
        .bare("recovered", number(|status| status.recovered_count))
        .bare("damaged", number(|status| status.damaged_count))
        .bare("corrected", number(|status| status.corrected_count))
        .text("window", duration(facts.window_ns))
        .text("window_ns", facts.window_ns.to_string())
        .bare("window_seconds", seconds(facts.window_ns))
        .text("retain", duration(facts.retain_ns))
        .bare("retain_seconds", seconds(facts.retain_ns));
    let fields = match from {
        Some(from) => fields.text("history_from", instant(now.wall_at(from))),
        None => fields.bare("history_from", number(|_| 0)),
    };
    let fields = fields
        .text("sync", facts.sync.clone())
        .texts("quarantined", quarantined)
        .bare("segments", number(|status| status.segment_count as u64))
        .bare("journal_bytes", number(|status| status.journal_bytes))
        .bare("connections", gauges.open(Side::Hits))
        .bare("operators", gauges.open(Side::Operator));
    match format {
        Format::Json => json(&fields),
        Format::Plain => plain(fields.lines()),
    }
}

/// A number, or that there is none.
fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}
