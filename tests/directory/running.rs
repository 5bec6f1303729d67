//! Files changed under a running server, by the hands of a person at a shell.
//!
//! Owns the servers. Must not know how a change is noticed. Invariant tested: within a second no hit is
//! answered any more, the reason is told, the metrics stay, and the end is no success.

use crate::support::client::{Answer, Client, GET};
use crate::support::server::Server;
use rustix::process::Signal;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SEGMENT: &str = "0000000000000000.seg";
/// A second until it is noticed; the rest is for a machine that has other work too.
const NOTICED: Duration = Duration::from_secs(5);

struct Running {
    root: TempDir,
    data: PathBuf,
    server: Server,
    client: Client,
    /// Hits that were counted.
    counted: u64,
}

fn start(flags: &[&str]) -> Running {
    let root = tempfile::tempdir().expect("a directory");
    let data = root.path().join("data");
    let server = Server::start(&data, &[&["--operator", "127.0.0.1:0"], flags].concat());
    let client = Client::connect(server.address).expect("the server listens");
    Running {
        root,
        data,
        server,
        client,
        counted: 0,
    }
}

fn ask(address: SocketAddr, path: &str) -> Answer {
    let mut client = Client::connect(address).expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    client.ask(request.as_bytes()).expect("an answer")
}

impl Running {
    /// One hit: its status. A tally that is given is the right one.
    fn hit(&mut self) -> u16 {
        let answer = self.client.ask(GET).or_else(|_| {
            // A refusal may have closed the connection.
            self.client = Client::connect(self.server.address)?;
            self.client.ask(GET)
        });
        let answer = answer.expect("an answer");
        if answer.status == 200 {
            self.counted += 1;
            assert_eq!(answer.tally(), self.counted);
        }
        answer.status
    }

    fn hits(&mut self, count: u64) {
        for _ in 0..count {
            assert_eq!(self.hit(), 200);
        }
    }

    fn segment(&self) -> PathBuf {
        self.data.join(SEGMENT)
    }

    fn operator(&self) -> SocketAddr {
        self.server.operator.expect("an operator's address")
    }

    /// Hits until one is answered with `status`.
    fn until(&mut self, status: u16) {
        let began = Instant::now();
        while self.hit() != status {
            assert!(began.elapsed() < NOTICED, "no {status} for so long");
        }
    }

    /// Asks whether it is ready until the answer has `status`, and returns that.
    fn until_told(&self, status: u16) -> String {
        let began = Instant::now();
        loop {
            let answer = ask(self.operator(), "/readyz");
            if answer.status == status {
                return answer.body;
            }
            assert!(began.elapsed() < NOTICED, "still {answer:?}");
        }
    }

    /// That hits are refused, that it is told why, and that the metrics stay.
    fn is_refusing(&mut self, why: &str) {
        self.until(503);
        self.hits_are_refused();
        let told = self.until_told(503);
        assert!(told.contains(why), "{told}");
        let metrics = ask(self.operator(), "/metrics");
        assert_eq!(metrics.status, 200, "{metrics:?}");
        assert!(metrics.body.contains("\ntallyd_ready 0\n"), "{metrics:?}");
    }

    fn hits_are_refused(&mut self) {
        for _ in 0..20 {
            assert_eq!(self.hit(), 503);
        }
    }

    /// Ends it; that is a failure with the reason, and the log has one line of it.
    fn fails(self, why: &str) -> TempDir {
        self.server.signal(Signal::TERM);
        let (status, said) = self.server.ended();
        assert_eq!(status.code(), Some(1), "{said}");
        let last = said.lines().next_back().expect("a reason");
        assert!(last.starts_with("tallyd: ") && last.contains(why), "{said}");
        let lines = said.lines().filter(|line| line.contains("refusing hits"));
        assert!(lines.count() <= 1, "{said}");
        self.root
    }
}

/// Copies a directory's files into another, as `cp` does.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[test]
fn segments_removed_under_hits_end_the_counting_and_the_process_fails() {
    for sync in ["always", "50ms", "1s", "never"] {
        let mut running = start(&["--sync", sync]);
        running.hits(30);
        fs::remove_file(running.segment()).expect("a removal");
        running.until(503);
        running.hits_are_refused();
        running.until_told(503);
        let (data, counted) = (running.data.clone(), running.counted);
        let _root = running.fails(&format!("{SEGMENT}: the file was removed"));
        is_missing_at_the_next_start(&data, 0, counted);
    }
}

/// That a server which starts now says that hits are missing, and calls its answers estimated.
fn is_missing_at_the_next_start(data: &Path, left: u64, counted: u64) {
    let again = Server::start(data, &[]);
    let recovered = format!("recovered {left} hits ({left} in the last ");
    let is_said =
        again.start_line.contains(&recovered) && again.start_line.contains(", estimated)");
    assert!(is_said, "{}", again.start_line);
    let mut client = Client::connect(again.address).expect("the server listens");
    let answer = client.ask(GET).expect("an answer");
    assert!(
        answer.head.contains("Tally-Status: estimated"),
        "{answer:?}"
    );
    let said = again.stop();
    let missing = counted - left;
    assert!(said.contains(&format!(": {missing} are missing")), "{said}");
}

#[test]
fn segment_that_comes_back_is_counted_on_in_and_nothing_is_lost() {
    let mut running = start(&["--sync", "never"]);
    running.hits(30);
    let data = running.data.clone();
    let away = data.with_extension("away");
    fs::rename(running.segment(), &away).expect("a move");
    running.is_refusing("the file was removed");
    fs::rename(&away, running.segment()).expect("a move");
    // Ready comes first: behind a balancer no hit comes before it.
    running.until_told(200);
    running.hits(10);
    let Running {
        server, counted, ..
    } = running;
    let said = server.stop();
    assert!(said.contains("counting again"), "{said}");
    let again = Server::start(&data, &[]);
    assert!(
        again
            .start_line
            .contains(&format!("recovered {counted} hits")),
        "{}",
        again.start_line
    );
}

#[test]
fn backup_copied_over_a_running_server_is_noticed_and_not_touched() {
    let mut running = start(&[]);
    running.hits(5);
    let backup = running.data.with_extension("backup");
    copy(&running.data, &backup);
    running.hits(5);
    // As `rsync -a --delete` does: another file under the same name.
    fs::rename(backup.join(SEGMENT), running.segment()).expect("a replacement");
    let before = fs::read(running.segment()).expect("a file");
    running.is_refusing("the file was replaced");
    let (data, counted) = (running.data.clone(), running.counted);
    let _root = running.fails("the file was replaced");
    assert_eq!(fs::read(data.join(SEGMENT)).expect("a file"), before);
    is_missing_at_the_next_start(&data, 5, counted);
}

#[test]
fn active_file_truncated_under_hits_is_noticed_though_they_make_it_longer_again() {
    for length in [0, 64, 100] {
        let mut running = start(&["--sync", "never"]);
        running.hits(30);
        // A look has seen those.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1100) {
            running.hits(1);
        }
        let file = File::options().write(true).open(running.segment());
        file.expect("a file").set_len(length).expect("a cut");
        running.is_refusing("the file was truncated");
        running.fails("the file was truncated");
    }
}

#[test]
fn active_file_truncated_within_the_first_second_is_noticed_by_the_hits_behind() {
    for (sync, kept) in [("never", 0), ("1s", 1), ("never", 29)] {
        let mut running = start(&["--sync", sync]);
        running.hits(30);
        // Hits look at the end of the file a thousand times a second.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(3) {
            running.hits(1);
        }
        running.hits(1);
        let file = File::options().write(true).open(running.segment());
        let file = file.expect("a file");
        file.set_len(64 + 8 * kept).expect("a cut");
        let began = Instant::now();
        while running.hit() != 503 {
            let late = "the look of each second is not waited for";
            assert!(began.elapsed() < Duration::from_millis(500), "{late}");
        }
        running.fails("the file was truncated");
    }
}

#[test]
fn idle_server_tells_that_its_file_is_cut_and_takes_no_hit_more() {
    let mut running = start(&[]);
    running.hits(8);
    let file = File::options().write(true).open(running.segment());
    file.expect("a file").set_len(100).expect("a cut");
    let told = running.until_told(503);
    assert!(
        told.contains(SEGMENT) && told.contains("truncated"),
        "{told}"
    );
    running.hits_are_refused();
    let length = fs::metadata(running.segment()).expect("a file").len();
    assert_eq!(length, 100, "it is not filled up with zeros");
    running.fails("the file was truncated");
}

#[test]
fn end_of_an_idle_server_whose_files_are_gone_is_no_success() {
    let mut running = start(&["--sync", "50ms"]);
    running.hits(8);
    // All of it was durable.
    let began = Instant::now();
    while !ask(running.operator(), "/metrics")
        .body
        .contains("tallyd_sync_seconds_count 1")
    {
        assert!(began.elapsed() < NOTICED, "no sync for so long");
    }
    fs::remove_file(running.segment()).expect("a removal");
    running.fails("the file was removed");
}

#[test]
fn lock_file_that_is_removed_or_replaced_is_noticed() {
    for replaced in [false, true] {
        let mut running = start(&[]);
        running.hits(3);
        let lock = running.data.join("lock");
        let away = running.data.with_extension("lock");
        fs::rename(&lock, &away).expect("a move");
        if replaced {
            std::os::unix::fs::symlink(&away, &lock).expect("a link");
        }
        running.until(503);
        running.hits_are_refused();
        running.fails("lock file was moved, removed or replaced");
    }
}

#[test]
fn sealed_segment_that_is_removed_is_noticed() {
    let root = tempfile::tempdir().expect("a directory");
    let data = root.path().join("data");
    let server = Server::start(&data, &[]);
    assert_eq!(crate::support::client::hit(server.address), 1);
    server.stop();
    let server = Server::start(&data, &["--operator", "127.0.0.1:0"]);
    let client = Client::connect(server.address).expect("the server listens");
    let mut running = Running {
        root,
        data,
        server,
        client,
        counted: 1,
    };
    running.hits(3);
    fs::remove_file(running.segment()).expect("a removal");
    running.until(503);
    running.hits_are_refused();
    running.fails("the file was removed");
}
