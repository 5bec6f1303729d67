//! Paths and parameters at their limits.

use super::*;
use crate::front::pool::request::{Body, Version};
use crate::lives::Gaps;

const NOW: Anchor = Anchor {
    at: Stamp::from_ns(5_000_000_000_000),
    wall_ns: 1_795_464_539_739_840_268,
};

fn facts() -> Facts {
    Facts {
        window_ns: 60 * SECOND_NS,
        retain_ns: 120 * SECOND_NS,
        sync: "1s".to_owned(),
        began: Stamp::default(),
        hosts: Vec::new(),
        gaps: Gaps::default(),
        doubt: None,
    }
}

fn ask(method: &str, target: &str, accept: Option<&str>) -> Result<(Question, Format), Page> {
    let request = Request {
        method,
        target,
        version: Version::Http11,
        stays: true,
        body: Body::Empty,
        expects_continue: false,
        accept: accept.map(str::as_bytes),
        host: Some(b"127.0.0.1:8081"),
    };
    read(&request, &facts(), &Hosts::default(), NOW)
}

fn get(target: &str) -> Result<Question, String> {
    let answer = ask("GET", target, None).map(|(question, _)| question);
    answer.map_err(|page| {
        let text = String::from_utf8(page.body.into_owned()).expect("text");
        format!("{} {}", &page.status[..3], text.trim_end())
    })
}

#[test]
fn every_path_is_a_question() {
    let window = Span::Window(60 * SECOND_NS);
    let steps = Steps {
        step_ns: SECOND_NS,
        count: 60,
        is_aligned: false,
    };
    for (target, question) in [
        ("/", Question::Page),
        ("/count", Question::Count(window)),
        ("/total", Question::Total),
        ("/history", Question::History(steps)),
        ("/status", Question::Status),
        ("/metrics", Question::Metrics),
        ("/livez", Question::Live),
        ("/readyz", Question::Ready),
        ("http://localhost:8081/total", Question::Total),
        ("http://localhost:8081", Question::Page),
        ("http://localhost:8081?format=json", Question::Page),
        ("/total?format=plain", Question::Total),
        ("/total?", Question::Total),
    ] {
        assert_eq!(get(target), Ok(question), "{target}");
    }
}

#[test]
fn spans_are_taken_to_the_nanosecond() {
    let at = |back_ns| NOW.at.before(back_ns);
    for (target, span) in [
        ("/count?window=10s", Span::Window(10 * SECOND_NS)),
        ("/count?window=1ns", Span::Window(1)),
        ("/count?window=2m", Span::Window(120 * SECOND_NS)),
        (
            "/count?from=2026-11-23T20:08:59.739840267Z&to=2026-11-23T20:08:59.739840268Z",
            Span::Between(at(1), at(0)),
        ),
        (
            "/count?from=2026-11-23T20%3A08%3A59.739840268Z",
            Span::Between(at(0), at(0)),
        ),
        // A plus sign that is sent as it is reads as a blank.
        (
            "/count?from=2026-11-23T22:08:58.739840268+02:00&to=2026-11-23T22:08:59.739840268%2B02:00",
            Span::Between(at(SECOND_NS), at(0)),
        ),
        (
            "/count?from=2026-11-23+10:08:58.739840268-10:00&to=1795464539.739840268",
            Span::Between(at(SECOND_NS), at(0)),
        ),
        (
            "/count?from=2026-11-23T20:06:59.739840268Z",
            Span::Between(at(120 * SECOND_NS), at(0)),
        ),
    ] {
        assert_eq!(get(target), Ok(Question::Count(span)), "{target}");
    }
}

#[test]
fn steps_divide_the_window() {
    for (target, step_ns, count) in [
        ("/history?step=10s", 10 * SECOND_NS, 6),
        ("/history?step=6ms", 6_000_000, 10_000),
        ("/history?window=1500ms", 1_500_000_000, 1),
        ("/history?window=2m", SECOND_NS, 120),
        ("/history?window=1ns&step=1ns", 1, 1),
    ] {
        for (align, is_aligned) in [("", false), ("align=false", false), ("align=true", true)] {
            let steps = Steps {
                step_ns,
                count,
                is_aligned,
            };
            let target = format!("{target}&{align}");
            assert_eq!(get(&target), Ok(Question::History(steps)), "{target}");
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (target, refusal) in [
        (
            "/x",
            "404 /x: no such path, there are: /, /count, /total, /history, /status, /metrics, /livez, /readyz",
        ),
        (
            "*",
            "404 *: no such path, there are: /, /count, /total, /history, /status, /metrics, /livez, /readyz",
        ),
        ("/total?x=1", "400 x: no such parameter here"),
        ("/livez?window=1s", "400 window: no such parameter here"),
        (
            "/count?window=1s&window=2s",
            "400 window: given twice, or beside what it excludes",
        ),
        (
            "/count?window=0s",
            "400 window: 0s is too short, at least 1ns is required",
        ),
        (
            "/count?window=60",
            "400 window: '60' is no duration such as 60s or 250ms: time unit needed, for example 60sec or 60ms",
        ),
        (
            "/count?window=120001ms",
            "400 window: 120001ms is longer than history is kept, 120s",
        ),
        (
            "/count?to=2026-11-23T20:08:59Z",
            "400 from: missing beside to",
        ),
        (
            "/count?from=2026-11-23T20:06:59.739840267Z",
            "400 from: 2026-11-23T20:06:59.739840267Z is longer ago than history is kept, 120s",
        ),
        (
            "/count?from=2026-11-23T20:08:59Z&to=2026-11-23T20:08:58Z",
            "400 to: 2026-11-23T20:08:58Z is before from, 2026-11-23T20:08:59Z",
        ),
        (
            "/history?step=7s",
            "400 step: 7s does not divide the window, 60s",
        ),
        (
            "/history?step=2m",
            "400 step: 2m does not divide the window, 60s",
        ),
        (
            "/history?step=5ms",
            "400 step: 5ms makes 12000 steps of 60s, at most 10000 are allowed",
        ),
        (
            "/history?align=1",
            "400 align: invalid value '1', expected true or false",
        ),
        ("/count?align=true", "400 align: no such parameter here"),
        (
            "/total?format=xml",
            "400 format: 'xml' is no format, there are: plain, json",
        ),
    ] {
        assert_eq!(get(target), Err(refusal.to_owned()), "{target}");
    }
    for text in ["yesterday", "2026-11-23+20:08", "\u{e9}+00:00"] {
        let unreadable = get(&format!("/count?from={text}")).expect_err("no instant");
        assert!(
            unreadable.starts_with("400 from: invalid time '")
                && unreadable
                    .ends_with("expected RFC 3339 such as 2026-11-27T00:00:00Z, or epoch seconds"),
            "{unreadable}"
        );
    }
}

#[test]
fn what_is_asked_about_the_future_is_an_error_and_now_is_not() {
    let now = "2026-11-23T20:08:59.739840268Z";
    let next = "2026-11-23T20:08:59.739840269Z";
    let refusal = |name: &str, given: &str| {
        Err(format!(
            "400 {name}: {given} is in the future, it is {now} now"
        ))
    };
    assert_eq!(get(&format!("/count?from={next}")), refusal("from", next));
    assert_eq!(
        get(&format!("/count?from={next}&to={next}")),
        refusal("from", next)
    );
    assert_eq!(
        get(&format!("/count?from={now}&to={next}")),
        refusal("to", next)
    );
    let far = "2262-04-11T00:00:00Z";
    assert_eq!(
        get(&format!("/count?from={now}&to={far}")),
        refusal("to", far)
    );
    let present = Question::Count(Span::Between(NOW.at, NOW.at));
    assert_eq!(get(&format!("/count?from={now}&to={now}")), Ok(present));
}

#[test]
fn only_reading_is_allowed() {
    assert!(ask("HEAD", "/total", None).is_ok());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let page = ask(method, "/total", None).expect_err("not allowed");
        assert_eq!(
            (page.status, page.headers),
            ("405 Method Not Allowed", "Allow: GET, HEAD\r\n")
        );
    }
}

#[test]
fn json_is_for_who_prefers_it() {
    let format = |target, accept| ask("GET", target, accept).map(|(_, format)| format);
    for (accept, expected) in [
        (None, Format::Plain),
        (Some("*/*"), Format::Plain),
        (Some("application/json"), Format::Json),
        (
            Some("Application/JSON; q=0.5, text/plain;q=0.4"),
            Format::Json,
        ),
        (
            Some("text/html, application/json;q=0.9, */*;q=0.8"),
            Format::Json,
        ),
        (Some("application/json;q=0"), Format::Plain),
        (Some("application/json;q=x"), Format::Plain),
        (Some("text/plain, application/json;q=0.9"), Format::Plain),
    ] {
        assert_eq!(format("/total", accept), Ok(expected), "{accept:?}");
    }
    assert_eq!(
        format("/total?format=json", Some("text/plain")),
        Ok(Format::Json)
    );
    assert_eq!(
        format("/total?format=plain", Some("application/json")),
        Ok(Format::Plain)
    );
}
