//! What opens what: a journal that an older tallyd has left, and one that a newer tallyd might leave.
//!
//! Owns `tests/version-1`: three lives of 3, 5 and 4 hits, the first two ended by SIGKILL, as the first tallyd with a
//! `pool` front and without an operator's side wrote them, and what `dump` has to say of them. While version 1 is read
//! at all, they must be.
//!
//! Must not know the byte table but for the places that every version keeps. Invariant: a directory with anything of
//! a later version in it is refused by all and changed by none.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::client::{Client, hit};
use support::ended::Ended;
use support::server::{Server, TALLYD};
use tempfile::TempDir;

/// A copy of the kept journal.
fn kept() -> TempDir {
    let data = tempfile::tempdir().expect("a directory");
    for file in segments(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/version-1")) {
        let name = file.file_name().expect("a name");
        fs::copy(&file, data.path().join(name)).expect("a copy");
    }
    data
}

/// The files of segments in a directory, by name.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "seg");
    let mut found: Vec<PathBuf> = paths.filter(is_segment).collect();
    found.sort();
    assert!(!found.is_empty(), "no segments in {}", folder.display());
    found
}

/// Every file but the lock, and its bytes.
fn contents(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(data).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(&path).expect("a file")))
        .collect()
}

/// What tallyd says to `words`, on both outputs, and its exit code.
fn said(words: &[&str], data: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(TALLYD);
    let output = command.args(words).arg(data).ended();
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Sets a byte of a header, and the check that every version has at 60.
fn reseal(file: &Path, place: usize, value: u8) {
    let mut bytes = fs::read(file).expect("a segment");
    bytes[place] = value;
    let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes[..60]);
    bytes[60..64].copy_from_slice(&check.to_be_bytes());
    fs::write(file, bytes).expect("a segment");
}

#[test]
fn a_journal_of_version_1_is_read_by_every_tool() {
    let data = kept();
    let before = contents(data.path());
    let (code, verdict, _) = said(&["verify"], data.path());
    assert!(
        code == Some(0) && verdict.ends_with(": 3 segments, 12 records, 0 faults: sound\n"),
        "{verdict}"
    );
    let (_, dump, _) = said(&["dump", "--format", "csv"], data.path());
    // The third column is on the line of the running boot.
    let columns = dump
        .lines()
        .map(|line| line.rsplit_once(',').expect("columns").0);
    let expected = include_str!("version-1/hits.csv");
    assert_eq!(
        columns.collect::<Vec<_>>(),
        expected.lines().collect::<Vec<_>>()
    );
    let instants: Vec<&str> = expected
        .lines()
        .skip(1)
        .map(|line| &line[line.find(',').expect("a column") + 1..])
        .collect();
    let (from, to) = (instants[2], instants[10]);
    let (_, count, cause) = said(&["count", "--from", from, "--to", to], data.path());
    assert!(count.trim_start().starts_with("8"), "{count} {cause}");
    assert_eq!(contents(data.path()), before);
}

#[test]
fn a_server_goes_on_counting_behind_a_journal_of_version_1() {
    let data = kept();
    let server = Server::start(data.path(), &["--operator", "127.0.0.1:0"]);
    assert!(
        server.start_line.contains("recovered 12 hits"),
        "{}",
        server.start_line
    );
    hit(server.address);
    let operator = server.operator.expect("an operator");
    let mut client = Client::connect(operator).expect("it listens");
    let request = b"GET /total HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let total = client.ask(request).expect("an answer").body;
    assert_eq!(total.split_whitespace().next(), Some("13"), "{total}");
    assert_eq!(server.stop(), "");
}

#[test]
fn a_later_version_or_unknown_flags_are_refused_by_all_and_changed_by_none() {
    let harms = [
        (7, 2, "format version 2 is not known, at most 1 is"),
        (7, 255, "format version 255 is not known, at most 1 is"),
        (59, 1, "flags 0x00000001 are not known"),
        (56, 128, "flags 0x80000000 are not known"),
    ];
    for (place, value, words) in harms {
        for number in 0..4 {
            let data = kept();
            // The last one stands above a file that was begun and never written.
            let above = data.path().join("0000000000000005.seg");
            fs::copy(data.path().join("0000000000000002.seg"), &above).expect("a copy");
            reseal(&above, 15, 5);
            let files = segments(data.path());
            reseal(&files[number], place, value);
            // Whatever else a start would put in order stays as it is.
            fs::write(data.path().join("0000000000000003.seg"), [0; 64]).expect("a file");
            fs::write(data.path().join("0000000000000004.seg"), "no header").expect("a file");
            let other = &files[(number + 1) % 4];
            let torn = [fs::read(other).expect("a segment"), vec![1, 2, 3]].concat();
            fs::write(other, torn).expect("a segment");
            let before = contents(data.path());
            let expected = format!("tallyd: {}: {words}\n", files[number].display());
            let serve = ["--listen", "127.0.0.1:0", "--operator", "none", "--data"];
            let tools: [&[&str]; 5] = [&serve, &["verify"], &["count"], &["dump"], &["plot"]];
            for words in tools {
                let (code, out, cause) = said(words, data.path());
                assert_eq!(
                    (code, &*out, &*cause),
                    (Some(1), "", &*expected),
                    "{words:?}"
                );
            }
            assert_eq!(contents(data.path()), before);
        }
    }
}
