//! Directories that a server or a tool must not take for its own, and files in them that it must not open.
//!
//! Owns the runs of the real binary. Must not know how anything is told apart. Invariant tested: what is
//! refused is named and stays as it is, and nobody waits.

use crate::support::client::hit;
use crate::support::server::{Server, TALLYD};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const SEGMENT: &str = "0000000000000000.seg";
/// How long a run may take that ends by itself.
const END: Duration = Duration::from_secs(20);

/// Runs to the end, which must come.
fn run(arguments: &[&str]) -> Output {
    let mut child = Command::new(TALLYD)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let began = Instant::now();
    while child.try_wait().expect("its state").is_none() {
        if began.elapsed() > END {
            child.kill().expect("it is ours");
            panic!("{arguments:?} does not end");
        }
        std::thread::yield_now();
    }
    child.wait_with_output().expect("its end")
}

/// What a run complains of that fails and prints nothing.
fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn refused_by_server(data: &Path) -> String {
    let shown = data.display().to_string();
    complaint(&[
        "--listen",
        "127.0.0.1:0",
        "--operator",
        "none",
        "--data",
        &shown,
    ])
}

fn refused_by_tool(tool: &str, data: &Path) -> String {
    complaint(&[tool, &data.display().to_string()])
}

const TOOLS: [&str; 4] = ["count", "dump", "verify", "plot"];

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

/// A directory with a journal of three hits that no server has.
fn journal() -> tempfile::TempDir {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path(), &[]);
    for tally in 1..=3 {
        assert_eq!(hit(server.address), tally);
    }
    server.stop();
    data
}

#[test]
fn directory_with_anything_else_than_a_journal_is_refused_and_stays_as_it_is() {
    for (files, first) in [
        (&["passwd", "hosts"][..], "hosts"),
        (&[".bashrc"], ".bashrc"),
        (&["lock", "conf"], "conf"),
        (&["0000000000000000.seg", "notes"], "notes"),
        (&["\u{1b}[31m"], "\\u{1b}[31m"),
    ] {
        let data = tempfile::tempdir().expect("a directory");
        for file in files {
            fs::write(data.path().join(file), b"mine").expect("a file");
        }
        let said = refused_by_server(data.path());
        let shown = data.path().display();
        let expected = format!("tallyd: {shown}: holds \"{first}\", which is not a file of tallyd");
        assert!(said.starts_with(&expected), "{said}");
        let mut expected = files.to_vec();
        expected.sort_unstable();
        assert_eq!(names(data.path()), expected);
        for file in files {
            assert_eq!(fs::read(data.path().join(file)).expect("a file"), b"mine");
        }
        if !files.contains(&SEGMENT) {
            for tool in TOOLS {
                let said = refused_by_tool(tool, data.path());
                assert!(said.contains(": not a tallyd data directory"), "{said}");
            }
        }
    }
}

#[test]
fn directory_that_is_empty_but_for_what_file_systems_put_there_is_taken() {
    let data = tempfile::tempdir().expect("a directory");
    fs::create_dir(data.path().join("lost+found")).expect("a directory");
    fs::write(data.path().join(".gitkeep"), b"").expect("a file");
    for tally in 1..=2 {
        let server = Server::start(data.path(), &[]);
        assert_eq!(hit(server.address), tally);
        server.stop();
    }
}

/// Puts something that is no regular file to `path`.
type Put = fn(&Path);

const IRREGULAR: [(&str, Put); 5] = [
    ("a FIFO", |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    }),
    ("a directory", |path| {
        fs::create_dir(path).expect("a directory")
    }),
    ("a socket", |path| {
        drop(UnixListener::bind(path).expect("a socket"));
    }),
    ("a symbolic link", |path| {
        symlink("/dev/null", path).expect("a link");
    }),
    ("a symbolic link", |path| {
        symlink("nowhere", path).expect("a link");
    }),
];

#[test]
fn what_is_named_like_a_file_of_ours_and_is_none_is_refused_by_all_without_waiting() {
    for name in [
        "0000000000000001.seg",
        "0000000000000001.seg.aside",
        "ffffffffffffffff.seg",
        "lock",
    ] {
        for (kind, put) in IRREGULAR {
            let data = journal();
            let path = data.path().join(name);
            let _replaced = fs::remove_file(&path);
            put(&path);
            let expected = format!(
                "tallyd: {}: it is {kind}, a regular file is required",
                path.display()
            );
            let mut said = vec![refused_by_server(data.path())];
            said.extend(TOOLS.map(|tool| refused_by_tool(tool, data.path())));
            for said in said {
                assert!(said.starts_with(&expected), "{kind} {name}: {said}");
            }
        }
    }
}

#[test]
fn lock_is_never_somebody_elses_file() {
    for hard in [false, true] {
        let root = tempfile::tempdir().expect("a directory");
        let (data, victim) = (root.path().join("data"), root.path().join("victim"));
        fs::create_dir(&data).expect("a directory");
        fs::write(&victim, b"of great value\n").expect("a file");
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).expect("a mode");
        let lock = data.join("lock");
        if hard {
            fs::hard_link(&victim, &lock).expect("a link");
        } else {
            symlink("../victim", &lock).expect("a link");
        }
        let said = refused_by_server(&data);
        let expected = if hard {
            "has 2 hard links, 1 is allowed"
        } else {
            "it is a symbolic link"
        };
        let expected = format!("tallyd: {}: {expected}", lock.display());
        assert!(said.starts_with(&expected), "{said}");
        let found = fs::read(&victim).expect("a file");
        assert_eq!(found, b"of great value\n");
        assert_eq!(fs::metadata(&victim).expect("a file").mode() & 0o777, 0o644);
    }
}

#[test]
fn directory_and_files_that_are_created_are_for_their_owner_alone() {
    let root = tempfile::tempdir().expect("a directory");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    for existed in [false, true] {
        let data = root.path().join(format!("{existed}/data"));
        if existed {
            fs::create_dir_all(&data).expect("a directory");
            fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).expect("a mode");
            // An earlier version has created it so.
            fs::write(data.join("lock"), b"").expect("a file");
            fs::set_permissions(data.join("lock"), fs::Permissions::from_mode(0o644))
                .expect("a mode");
        }
        let server = Server::start(&data, &[]);
        assert_eq!(hit(server.address), 1);
        assert_eq!(mode(&data), if existed { 0o750 } else { 0o700 });
        for file in ["lock", SEGMENT] {
            assert_eq!(mode(&data.join(file)), 0o600, "{file}");
        }
        server.stop();
    }
}

#[test]
fn what_stands_in_a_lock_that_is_held_is_printed_escaped_and_bounded() {
    let data = tempfile::tempdir().expect("a directory");
    let path = data.path().join("lock");
    fs::write(&path, "\u{1b}[31mgo away\n".repeat(1000)).expect("a file");
    let lock = File::open(&path).expect("a file");
    lock.try_lock().expect("it is free");
    let said = refused_by_server(data.path());
    assert!(
        said.contains("data directory is in use by process \\u{1b}[31m"),
        "{said}"
    );
    assert!(
        !said.contains('\u{1b}') && said.lines().count() == 1,
        "{said}"
    );
    assert!(said.len() < 300, "{} bytes", said.len());
}

#[test]
fn number_that_leaves_no_room_is_set_aside_and_later_starts_count_on() {
    let header = |number: u64| {
        let mut bytes = b"tallyd\0\x01".to_vec();
        bytes.extend(number.to_be_bytes());
        bytes.extend((u64::MAX - 1).to_be_bytes());
        bytes.resize(60, 0);
        let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes);
        bytes.extend(check.to_be_bytes());
        bytes
    };
    for (name, content) in [
        ("ffffffffffffffff.seg", b"stray".to_vec()),
        ("ffffffffffffffff.seg", Vec::new()),
        ("ffffffffffffffff.seg", header(u64::MAX)),
        ("fffffffffffffffe.seg.aside", b"stray".to_vec()),
        ("0000ffffffffffff.seg", b"stray".to_vec()),
        ("0000ffffffffffff.seg.aside", b"stray".to_vec()),
        // A right check and a sequence that nobody can have reached.
        ("0000000000000007.seg", header(7)),
        // The same, under a name that is not its own.
        ("0000000000000009.seg", header(u64::MAX)),
    ] {
        let data = journal();
        fs::write(data.path().join(name), &content).expect("a file");
        for tally in 4..=6 {
            let server = Server::start(data.path(), &[]);
            assert_eq!(hit(server.address), tally, "{name}");
            let said = server.stop();
            let is_moved = tally == 4 && !name.ends_with(".aside");
            // A name without a file in it was begun and never written, if it can be.
            assert_eq!(said.contains("set aside as"), is_moved, "{name}: {said}");
        }
        let aside = names(data.path());
        let aside = aside.iter().filter(|name| name.ends_with(".aside"));
        assert_eq!(aside.count(), 1, "{name}: it is kept");
        let counted = run(&[
            "count",
            "--window",
            "1h",
            &data.path().display().to_string(),
        ]);
        assert_eq!(counted.stdout, b"6\n", "{name}: {counted:?}");
    }
}

#[test]
fn newest_segment_stretched_to_4_gib_costs_no_time_and_no_hit() {
    let data = journal();
    let stretch = || {
        let file = File::options().write(true).open(data.path().join(SEGMENT));
        file.expect("a file")
            .set_len(4 << 30)
            .expect("a sparse file");
    };
    stretch();
    // 4 GiB take this debug build a minute.
    let verified = run(&["verify", &data.path().display().to_string()]);
    assert!(verified.status.success(), "{verified:?}");
    let began = Instant::now();
    let server = Server::start(data.path(), &[]);
    assert!(began.elapsed() < END, "{:?}", began.elapsed());
    assert_eq!(hit(server.address), 4);
    server.stop();
}
