//! Times when nothing could be counted, and journals that end too early, as an operator sees them.
//!
//! Owns real servers one after the other on one directory: stopped, killed, refusing, restored from a
//! copy. What is in the file is tried in `src/lives/tests.rs`.
//!
//! Must not know how lives are kept. Invariant: no time in which a hit was counted is told as down.

mod support;

use rustix::process::{Resource, Rlimit, prlimit};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::client::{Client, GET, hit};
use support::server::Server;

const HISTORY: &str = "/history?window=50m&step=1s&align=true";

fn start(data: &Path) -> Server {
    Server::start(data, &["--operator", "127.0.0.1:0"])
}

/// What `path` answers as JSON.
fn ask(server: &Server, path: &str) -> String {
    let operator = server.operator.expect("an operator's listener");
    let mut client = Client::connect(operator).expect("the operator's listener");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
    let answer = client.ask(request.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The text behind a name, from `after` on.
fn text<'a>(json: &'a str, name: &str) -> &'a str {
    let (_, rest) = json
        .split_once(&format!("\"{name}\":"))
        .unwrap_or_else(|| panic!("no {name}: {json}"));
    let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
    rest[..end].trim_matches('"')
}

/// The spans of time that a history tells as down.
fn down(history: &str) -> Vec<&str> {
    let (_, list) = history.split_once("\"down\":[").expect("a list");
    let (list, _) = list.split_once(']').expect("its end");
    let spans = list.trim_end_matches('}').split("},{");
    spans.filter(|span| !span.is_empty()).collect()
}

fn count(server: &Server, from: &str, to: &str) -> String {
    let answer = ask(server, &format!("/count?from={from}&to={to}"));
    text(&answer, "count").to_owned()
}

#[test]
fn time_between_two_servers_is_told_from_a_time_without_hits() {
    let data = tempfile::tempdir().expect("a directory");
    let first = start(data.path());
    hit(first.address);
    let history = ask(&first, HISTORY);
    let before = down(&history);
    assert_eq!(
        before.len(),
        1,
        "only what was before the first server: {history}"
    );
    assert_eq!(text(before[0], "from"), text(&history, "from"));
    first.stop();
    let second = start(data.path());
    hit(second.address);
    let history = ask(&second, HISTORY);
    let stopped = down(&history);
    assert_eq!(stopped.len(), 2, "{history}");
    assert_eq!(text(stopped[1], "reason"), "no server was running");
    assert_eq!(text(stopped[1], "since"), "stop");
    second.kill();
    let third = start(data.path());
    let history = ask(&third, HISTORY);
    let killed = down(&history);
    assert_eq!(killed.len(), 3, "{history}");
    assert_eq!(text(killed[2], "since"), "last hit");
    assert_eq!(killed[1], stopped[1], "what was down stays so");
    // No hit was counted in any of them, and all hits outside.
    for span in &killed {
        let counted = count(&third, text(span, "from"), text(span, "to"));
        assert_eq!(counted, "0", "{span}");
    }
    assert_eq!(text(&history, "sum"), "2");
    third.stop();
}

#[test]
fn time_in_which_hits_are_refused_is_down_until_they_are_counted_again() {
    let data = tempfile::tempdir().expect("a directory");
    let server = start(data.path());
    hit(server.address);
    let limit = |bytes| Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Some(server.pid()), Resource::Fsize, limit(Some(72))).expect("a limit");
    let mut client = Client::connect(server.address).expect("the server listens");
    assert_eq!(client.ask(GET).expect("an answer").status, 503);
    let history = ask(&server, HISTORY);
    let refused = *down(&history).last().expect("a span");
    assert!(text(refused, "reason").starts_with("hits were refused: cannot append to "));
    assert_eq!(text(refused, "to"), text(&history, "to"), "it goes on");
    prlimit(Some(server.pid()), Resource::Fsize, limit(None)).expect("the limit can be lifted");
    assert_eq!(hit(server.address), 2);
    let over = ask(&server, HISTORY);
    let ended = *down(&over).last().expect("a span");
    assert_eq!(text(ended, "from"), text(refused, "from"));
    assert!(text(ended, "to") < text(&over, "to"), "{over}");
    server.stop();
}

#[test]
fn aligned_steps_that_are_over_are_the_same_at_every_look_and_after_a_restart() {
    let data = tempfile::tempdir().expect("a directory");
    let path = "/history?window=1h&step=100ms&align=true";
    let steps = |json: &str| -> Vec<u64> {
        let (_, list) = json.split_once("\"counts\":[").expect("a list");
        let (list, _) = list.split_once(']').expect("its end");
        list.split(',')
            .map(|count| count.parse().expect("a number"))
            .collect()
    };
    // More steps than a history may have is an error with align, too: so a shorter window.
    let path = path.replace("1h", "1m");
    let mut server = start(data.path());
    let mut client = Client::connect(server.address).expect("the server listens");
    let mut known: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    let mut looks = 0;
    for round in 0..100 {
        for _ in 0..20 {
            client.hit().expect("an answer");
        }
        let json = ask(&server, &path);
        let text_form = {
            let operator = server.operator.expect("an operator's listener");
            let mut client = Client::connect(operator).expect("the operator's listener");
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.ask(request.as_bytes()).expect("an answer").body
        };
        let (counts, complete) = (steps(&json), text(&json, "complete").parse::<usize>());
        let complete = complete.expect("a number");
        assert_eq!(counts.len(), 600);
        assert!(
            complete <= 600 && text(&json, "from").ends_with("00000000Z"),
            "{json}"
        );
        if text(&json, "running") == "true" {
            assert!(complete < 600, "a step that runs is not complete");
        }
        // Each line of the text has the end of its step, by which it is known again.
        let lines: Vec<&str> = text_form.lines().collect();
        for line in &lines[..590] {
            let mut words = line.split(' ');
            let (end, hits) = (
                words.next().expect("an instant"),
                words.next().expect("a number"),
            );
            let hits = hits.parse().expect("a number");
            if let Some(before) = known.insert(end.to_owned(), hits) {
                assert_eq!(before, hits, "the step that ended at {end} has changed");
                looks += 1;
            }
        }
        assert!(lines[599].ends_with(" running"), "{}", lines[599]);
        if round == 50 {
            server.stop();
            server = start(data.path());
            client = Client::connect(server.address).expect("the server listens");
        }
    }
    assert!(looks > 40_000, "{looks} steps were seen twice");
    server.stop();
}

#[test]
fn directory_that_was_restored_from_a_copy_is_said_at_start_and_in_the_status() {
    let above = tempfile::tempdir().expect("a directory");
    let (data, copy) = (above.path().join("data"), above.path().join("copy"));
    let cp = |from: &Path, to: &Path| {
        let done = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(done.expect("cp runs").success());
    };
    let hits = |count| {
        let server = start(&data);
        for _ in 0..count {
            hit(server.address);
        }
        assert_eq!(text(&ask(&server, "/status"), "estimated"), "false");
        assert_eq!(server.stop(), "", "nothing to say");
    };
    hits(5);
    cp(&data, &copy);
    hits(4);
    // Segments alone: the count that is missing is known.
    let kept = above.path().join("kept");
    cp(&data, &kept);
    for entry in fs::read_dir(&data).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "seg") {
            fs::remove_file(path).expect("it was there");
        }
    }
    for entry in fs::read_dir(&copy).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "seg") {
            fs::copy(&path, data.join(path.file_name().expect("a name"))).expect("it is copied");
        }
    }
    let server = start(&data);
    let status = ask(&server, "/status");
    assert_eq!(text(&status, "estimated"), "true");
    assert!(status.contains("ends at 5 hits, and the last server had counted 9: 4 are missing"));
    let said = server.stop();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("4 are missing"), "{said}");
    // The whole directory: that it is a copy is known where files have a birth time.
    fs::remove_dir_all(&data).expect("it was there");
    cp(&copy, &data);
    let server = start(&data);
    let status = ask(&server, "/status");
    let has_birth_times = fs::metadata(&data)
        .and_then(|found| found.created())
        .is_ok();
    assert_eq!(
        status.contains("was copied or restored"),
        has_birth_times,
        "{status}"
    );
    let said = server.stop();
    assert_eq!(
        said.contains("was copied or restored: it has 5 hits, and"),
        has_birth_times,
        "{said}"
    );
    // That leaves no trace in the segments.
    let ran = tool(&data, &["verify"]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(says_earlier_doubt(&said), has_birth_times, "{said}");
}

/// Five hits, a stop, damage to the newest segment, and what three more servers answer to a hit each.
fn answers_after(damage: impl Fn(&mut Vec<u8>)) -> (tempfile::TempDir, Vec<(String, bool)>) {
    let data = tempfile::tempdir().expect("a directory");
    let server = start(data.path());
    for _ in 0..5 {
        hit(server.address);
    }
    server.stop();
    let newest = data.path().join("0000000000000000.seg");
    let mut bytes = fs::read(&newest).expect("a segment");
    damage(&mut bytes);
    fs::write(&newest, bytes).expect("a segment");
    let answers = (0..3).map(|start_index| {
        let server = start(data.path());
        let mut client = Client::connect(server.address).expect("a server");
        let answer = client.ask(GET).expect("an answer");
        let status = ask(&server, "/status");
        assert_ne!(text(&status, "estimated"), "false", "{status}");
        assert_eq!(says_earlier_doubt(&status), start_index > 0, "{status}");
        server.stop();
        (
            answer.body.trim().to_owned(),
            answer.head.contains("estimated"),
        )
    });
    let answers = answers.collect();
    (data, answers)
}

/// Whether a text tells of the doubt that an earlier start found, whatever the instant.
fn says_earlier_doubt(text: &str) -> bool {
    let said = ": note: an earlier start found hits damaged or lost: numbers of spans that begin before T are estimated";
    let (before, after) = said.split_once('T').expect("an instant");
    let before = before.trim_start_matches(": note: ");
    text.split_once(before)
        .is_some_and(|(_, rest)| rest.contains(after))
}

#[test]
fn doubt_that_one_start_found_is_known_to_the_next_ones_and_to_the_tools() {
    let stray = |bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9])
    };
    let shorter = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 8);
    for (damage, kept) in [(&stray as &dyn Fn(&mut Vec<u8>), 5), (&shorter, 4)] {
        let (data, answers) = answers_after(damage);
        let expected: Vec<_> = (1..4)
            .map(|hit| (format!("{}", kept + hit), true))
            .collect();
        assert_eq!(answers, expected);
        for arguments in [
            &["count", "--window", "60s"][..],
            &["count", "--from", "2026-11-02T00:00:00Z"],
            &["plot", "--window", "60s"],
        ] {
            let ran = tool(data.path(), arguments);
            assert!(
                String::from_utf8_lossy(&ran.stderr).contains("estimated"),
                "{ran:?}"
            );
            assert!(ran.status.success(), "{ran:?}");
        }
        let ran = tool(data.path(), &["verify"]);
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    }
}

#[test]
fn tools_know_what_is_missing_before_the_next_server_does() {
    let data = tempfile::tempdir().expect("a directory");
    let server = start(data.path());
    for _ in 0..3 {
        hit(server.address);
    }
    server.stop();
    fs::remove_file(data.path().join("0000000000000000.seg")).expect("a segment");
    let missing = "the journal ends at 0 hits, and the last server had counted 3: 3 are missing";
    for arguments in [
        &["count", "--window", "60s"][..],
        &["count", "--from", "2026-11-02T00:00:00Z"],
        &["plot", "--window", "60s"],
        &["dump"],
    ] {
        let ran = tool(data.path(), arguments);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success() && said.contains(missing), "{ran:?}");
        assert_eq!(said.contains("estimated"), arguments[0] != "dump", "{said}");
    }
    let ran = tool(data.path(), &["verify"]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(
        ran.status.code() == Some(1) && said.contains(missing),
        "{ran:?}"
    );
}

/// What a command says of a directory.
fn tool(data: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallyd"));
    command.args(arguments).arg(data).output().expect("it runs")
}
