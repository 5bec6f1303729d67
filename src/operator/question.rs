//! What an operator asks: a request head in, a question with its parameters out.
//!
//! Owns the paths, their parameters and the bounds of these, and every refusal of the operator's side: a
//! host that is not answered for is 403, an unknown path is 404, another method than GET or HEAD is 405, a parameter that is unknown, missing,
//! given twice or out of bounds is 400 and named.
//!
//! Must not know the answers. Invariant: every question that comes out can be asked.

use super::history::STEPS_MAX;
use super::host::Hosts;
use super::{Facts, pages};
use crate::front::desk::Page;
use crate::front::pool::request::Request;
use crate::notation::{duration, instant as written, parse_duration, parse_instant};
use crate::stamp::{Anchor, SECOND_NS, Stamp};

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Hits of a span.
    Count(Span),
    /// Hits of the journal's life.
    Total,
    /// Hits of each step of a span.
    History(Steps),
    /// How things stand.
    Status,
    /// The same for a machine, and more of it.
    Metrics,
    /// Whether the process runs.
    Live,
    /// Whether hits are counted and promises kept.
    Ready,
    /// The page for people.
    Page,
}

/// The span of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// So many nanoseconds up to now.
    Window(u64),
    /// From behind an instant to another.
    Between(Stamp, Stamp),
}

/// The span of a history, up to now; with [`Steps::is_aligned`], to the end of the step that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Nanoseconds of a step.
    pub step_ns: u64,
    /// How many steps, from 1 to [`STEPS_MAX`].
    pub count: u64,
    /// Whether steps begin and end at whole multiples of the step since 1970.
    pub is_aligned: bool,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people and the shell.
    Plain,
    /// For programs.
    Json,
}

/// The steps of a history whose step was not given: the first that fits.
const DEFAULT_STEPS_S: [u64; 6] = [1, 10, 60, 600, 3600, 86_400];

/// Reads a request that came in at `now`.
///
/// # Errors
/// The page that refuses it.
pub fn read(
    request: &Request<'_>,
    facts: &Facts,
    hosts: &Hosts,
    now: Anchor,
) -> Result<(Question, Format), Page> {
    let (path, query) = split(request.target);
    let mut parameters = Parameters::read(query);
    let format = format(&mut parameters, request.accept);
    let plain = Format::Plain;
    let shape = format.clone().unwrap_or(plain);
    if let Err(host) = hosts.check(request) {
        let text = format!(
            "host '{host}' is not answered for: use localhost or an IP address, or start tallyd with --admin-host {host}"
        );
        return Err(pages::error("403 Forbidden", "", &text, shape));
    }
    if !ROUTES.contains(&path) {
        let known = ROUTES.join(", ");
        return Err(pages::error(
            "404 Not Found",
            "",
            &format!("{path}: no such path, there are: {known}"),
            shape,
        ));
    }
    if !matches!(request.method, "GET" | "HEAD") {
        let text = format!("{}: only GET and HEAD are answered here", request.method);
        return Err(pages::error(
            "405 Method Not Allowed",
            "Allow: GET, HEAD\r\n",
            &text,
            shape,
        ));
    }
    let bad = |cause: String| pages::error("400 Bad Request", "", &cause, shape);
    let format = format.map_err(bad)?;
    let question = question(path, &mut parameters, facts, now).map_err(bad)?;
    parameters.finish().map_err(bad)?;
    Ok((question, format))
}

const ROUTES: [&str; 8] = [
    "/", "/count", "/total", "/history", "/status", "/metrics", "/livez", "/readyz",
];

/// Path and query of a target in origin or absolute form.
fn split(target: &str) -> (&str, &str) {
    let local = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    let local = local.split('#').next().unwrap_or_default();
    match local.split_once('?') {
        Some(("", query)) => ("/", query),
        Some(both) => both,
        None => (local, ""),
    }
}

fn question(
    path: &str,
    parameters: &mut Parameters,
    facts: &Facts,
    now: Anchor,
) -> Result<Question, String> {
    Ok(match path {
        "/count" => Question::Count(span(parameters, facts, now)?),
        "/total" => Question::Total,
        "/history" => Question::History(steps(parameters, facts)?),
        "/status" => Question::Status,
        "/metrics" => Question::Metrics,
        "/livez" => Question::Live,
        "/readyz" => Question::Ready,
        _ => Question::Page,
    })
}

fn span(parameters: &mut Parameters, facts: &Facts, now: Anchor) -> Result<Span, String> {
    let (from, to) = (parameters.take("from"), parameters.take("to"));
    if from.is_none() && to.is_none() {
        return window(parameters, facts).map(Span::Window);
    }
    let from = from.ok_or("from: missing beside to")?;
    let from_at = instant("from", &from, now)?;
    if from_at < now.at.before(facts.retain_ns) {
        let kept = duration(facts.retain_ns);
        return Err(format!(
            "from: {from} is longer ago than history is kept, {kept}"
        ));
    }
    let to_at = match &to {
        Some(text) => instant("to", text, now)?,
        None => now.at,
    };
    for (name, given, at) in [("from", Some(&from), from_at), ("to", to.as_ref(), to_at)] {
        if let Some(text) = given.filter(|_| at > now.at) {
            let now = written(now.wall_ns);
            return Err(format!("{name}: {text} is in the future, it is {now} now"));
        }
    }
    if to_at < from_at {
        return Err(format!(
            "to: {} is before from, {from}",
            to.unwrap_or_else(|| "now".to_owned())
        ));
    }
    Ok(Span::Between(from_at, to_at))
}

fn instant(name: &str, text: &str, now: Anchor) -> Result<Stamp, String> {
    // A `+` in a query stands for a blank; one before an offset can only have been meant as itself.
    let text = match text.len().checked_sub(6) {
        Some(sign) if text.as_bytes()[sign] == b' ' => {
            &[&text[..sign], &text[sign + 1..]].join("+")
        }
        _ => text,
    };
    let wall_ns = parse_instant(text).map_err(|cause| format!("{name}: {cause}"))?;
    Ok(now.stamp_at(wall_ns))
}

fn window(parameters: &mut Parameters, facts: &Facts) -> Result<u64, String> {
    let Some(text) = parameters.take("window") else {
        return Ok(facts.window_ns);
    };
    let window_ns = span_ns("window", &text)?;
    if window_ns > facts.retain_ns {
        let kept = duration(facts.retain_ns);
        return Err(format!(
            "window: {text} is longer than history is kept, {kept}"
        ));
    }
    Ok(window_ns)
}

fn span_ns(name: &str, text: &str) -> Result<u64, String> {
    let ns = parse_duration(text).map_err(|cause| {
        format!("{name}: '{text}' is no duration such as 60s or 250ms: {cause}")
    })?;
    if ns == 0 {
        return Err(format!(
            "{name}: {text} is too short, at least 1ns is required"
        ));
    }
    Ok(ns)
}

fn steps(parameters: &mut Parameters, facts: &Facts) -> Result<Steps, String> {
    let window_ns = window(parameters, facts)?;
    let is_aligned = match parameters.take("align").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(format!(
                "align: invalid value '{other}', expected true or false"
            ));
        }
    };
    let fits = |step_ns: u64| window_ns.is_multiple_of(step_ns) && window_ns / step_ns <= STEPS_MAX;
    let Some(text) = parameters.take("step") else {
        let mut defaults = DEFAULT_STEPS_S.iter().map(|seconds| seconds * SECOND_NS);
        let step_ns = defaults.find(|&step_ns| fits(step_ns)).unwrap_or(window_ns);
        let count = window_ns / step_ns;
        return Ok(Steps {
            step_ns,
            count,
            is_aligned,
        });
    };
    let step_ns = span_ns("step", &text)?;
    let (window, count) = (duration(window_ns), window_ns / step_ns);
    if !window_ns.is_multiple_of(step_ns) {
        return Err(format!("step: {text} does not divide the window, {window}"));
    }
    if count > STEPS_MAX {
        return Err(format!(
            "step: {text} makes {count} steps of {window}, at most {STEPS_MAX} are allowed"
        ));
    }
    Ok(Steps {
        step_ns,
        count,
        is_aligned,
    })
}

fn format(parameters: &mut Parameters, accept: Option<&[u8]>) -> Result<Format, String> {
    match parameters.take("format").as_deref() {
        Some("json") => Ok(Format::Json),
        Some("plain") => Ok(Format::Plain),
        Some(other) => Err(format!(
            "format: '{other}' is no format, there are: plain, json"
        )),
        None => Ok(accept.map_or(Format::Plain, preferred)),
    }
}

/// What an `Accept` of RFC 9110 prefers; JSON only if it is named.
fn preferred(accept: &[u8]) -> Format {
    let (mut json, mut plain) = (0.0, 0.0);
    for range in String::from_utf8_lossy(accept)
        .to_ascii_lowercase()
        .split(',')
    {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(Ok(1.0), str::parse::<f32>);
        let quality = quality.unwrap_or(0.0);
        match media {
            "application/json" => json = quality,
            "text/plain" => plain = quality,
            _ => {}
        }
    }
    if json > plain {
        Format::Json
    } else {
        Format::Plain
    }
}

/// The parameters of a query that nobody has taken yet.
struct Parameters {
    left: Vec<(String, String)>,
    taken: Vec<&'static str>,
}

impl Parameters {
    fn read(query: &str) -> Self {
        Self {
            left: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            taken: Vec::new(),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<String> {
        self.taken.push(name);
        let place = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(place).1)
    }

    /// That nothing is left.
    fn finish(&self) -> Result<(), String> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) if self.taken.iter().any(|taken| taken == name) => {
                Err(format!("{name}: given twice, or beside what it excludes"))
            }
            Some((name, _)) => Err(format!("{name}: no such parameter here")),
        }
    }
}

#[cfg(test)]
mod tests;
