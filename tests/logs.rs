//! Standard error and standard output that take nothing more: pipes, terminals and sockets.
//!
//! Owns the receiving ends, which are full or stopped before a server starts. Whatever the server logs, it must
//! serve, recover and end as if somebody read it.
//!
//! Must not know how lines are written. Invariant: what a receiving end holds is read only after the server has
//! shown that it does not wait for that.

mod support;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Action, LocalModes, OptionalActions, tcflow, tcgetattr, tcsetattr};
use std::fs::{File, rename};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use support::client::{Client, GET, hit};
use support::ended::Ended;
use support::server::{Server, TALLYD};
use support::terminal::terminal;

const PATIENCE: Duration = Duration::from_secs(10);

/// A descriptor that a write to blocks, for a server; and the other end.
struct Blocked {
    theirs: OwnedFd,
    ours: File,
    /// Bytes that are in it.
    filled: usize,
}

/// Fills `theirs` until it takes no byte more.
fn filled(theirs: impl Into<OwnedFd>, ours: impl Into<OwnedFd>) -> Blocked {
    let (theirs, ours) = (theirs.into(), File::from(ours.into()));
    let flags = fcntl_getfl(&theirs).expect("flags");
    fcntl_setfl(&theirs, flags | OFlags::NONBLOCK).expect("a flag");
    let mut filled = 0;
    for bytes in [&[b'.'; 4096][..], b"."] {
        while let Ok(count) = rustix::io::write(&theirs, bytes) {
            filled += count;
        }
    }
    fcntl_setfl(&theirs, flags).expect("a flag");
    Blocked {
        theirs,
        ours,
        filled,
    }
}

fn full_pipe() -> Blocked {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    filled(writer, reader)
}

fn full_socket() -> Blocked {
    let (theirs, ours) = UnixStream::pair().expect("a pair");
    filled(theirs, ours)
}

/// What Ctrl-S does.
fn stopped_terminal() -> Blocked {
    let (theirs, ours) = terminal();
    tcflow(&theirs, Action::OOff).expect("a terminal");
    Blocked {
        theirs: theirs.into(),
        ours: ours.into(),
        filled: 0,
    }
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(TALLYD);
    command
        .args(["--listen", "127.0.0.1:0", "--operator", "127.0.0.1:0"])
        .args(["--window", "1h", "--data"])
        .arg(data);
    command
}

/// Asks until the answer has `status`.
fn ask_until(server: &Server, status: u16) {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(server.address).expect("the server listens");
        let found = client.ask(GET).expect("an answer").status;
        if found == status {
            return;
        }
        assert!(Instant::now() < until, "still {found}, not {status}");
    }
}

/// Ends `server` by TERM, within the patience of a person.
fn end(server: Server) {
    let began = Instant::now();
    server.signal(Signal::TERM);
    let (status, _) = server.ended();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_log_line_that_nobody_reads_stops_neither_hits_nor_recovery_nor_the_end() {
    for (kind, block) in [
        ("pipe", full_pipe as fn() -> Blocked),
        ("socket", full_socket),
        ("terminal", stopped_terminal),
    ] {
        let here = tempfile::tempdir().expect("a directory");
        let (data, aside) = (here.path().join("data"), here.path().join("aside"));
        let Blocked { theirs, ours, .. } = block();
        let server = Server::spawn_with(command(&data), theirs.into());
        assert_eq!(hit(server.address), 1, "{kind}");
        rename(&data, &aside).expect("it is moved away");
        ask_until(&server, 503);
        rename(&aside, &data).expect("it is moved back");
        ask_until(&server, 200);
        let operator = server.operator.expect("operators are heard");
        let mut client = Client::connect(operator).expect("operators are heard");
        let live = client.ask(b"GET /livez HTTP/1.0\r\n\r\n");
        assert_eq!(live.expect("an answer").status, 200, "{kind}");
        end(server);
        drop(ours);
    }
}

#[test]
fn dropped_lines_are_counted_and_reported_once_somebody_reads() {
    let here = tempfile::tempdir().expect("a directory");
    let Blocked {
        theirs,
        ours,
        filled,
    } = full_pipe();
    let mut command = command(&here.path().join("data"));
    // A supervisor that is gone is told in vain as often as the kernel's timers allow.
    command
        .env("NOTIFY_SOCKET", here.path().join("nobody"))
        .env("WATCHDOG_USEC", "2");
    let server = Server::spawn_with(command, theirs.into());
    let until = Instant::now() + Duration::from_millis(1500);
    let mut tally = 0;
    while Instant::now() < until {
        tally += 1;
        assert_eq!(hit(server.address), tally);
    }
    let (mut ours, mut said) = (ours, String::new());
    ours.read_exact(&mut vec![0; filled]).expect("dots");
    let reading = std::thread::spawn(move || {
        ours.read_to_string(&mut said).expect("text");
        said
    });
    end(server);
    let said = reading.join().expect("its lines");
    let dropped = said
        .lines()
        .filter_map(|line| line.split_once(" warn: dropped ")?.1.split(' ').next())
        .map(|number| number.parse::<usize>().expect("a number"))
        .sum::<usize>();
    assert!(dropped > 10, "{said}");
    let last = said.lines().next_back().expect("a line");
    let stop = format!("info: stopped: counted {tally} hits in this run, all on stable storage");
    assert!(last.ends_with(&stop), "{last}");
}

#[test]
fn a_start_line_that_nobody_reads_stops_neither_hits_nor_the_end() {
    for block in [full_pipe, stopped_terminal] {
        let here = tempfile::tempdir().expect("a directory");
        let place = here.path().join("notify");
        let supervisor = UnixDatagram::bind(&place).expect("a socket");
        supervisor
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        let Blocked { theirs, ours, .. } = block();
        let mut child = command(&here.path().join("data"))
            .env("NOTIFY_SOCKET", &place)
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut news = [0; 4096];
        let ready = supervisor.recv(&mut news);
        let served = ready.map(|length| {
            let news = String::from_utf8_lossy(&news[..length]).into_owned();
            let (_, rest) = news.split_once("listening on ").expect("an address");
            let address = rest.split(',').next().expect("an address");
            hit(address.parse().expect("an address"))
        });
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait().expect("it is ours") {
                Some(status) => break status,
                None if Instant::now() < until => std::thread::yield_now(),
                None => {
                    child.kill().expect("it is ours");
                    child.wait().expect("it ends");
                    panic!("TERM is not obeyed");
                }
            }
        };
        assert_eq!(served.expect("READY=1 is told"), 1);
        assert!(status.success(), "{status}");
        drop(ours);
    }
}

/// The variable by which a process that panics knows what it is.
const PANICS: &str = "TALLYD_TEST_PANICS";

#[test]
fn a_panic_is_one_line_of_the_log_that_names_its_thread() {
    if std::env::var_os(PANICS).is_some() {
        tallyd::report::start();
        tallyd::report::start_queue().expect("a thread");
        let named = std::thread::Builder::new().name("deep".to_owned());
        let named = named.spawn(|| panic!("too deep\nfor me"));
        let _panicked = named.expect("a thread").join();
        let _panicked = std::thread::spawn(|| panic!("too high")).join();
        tallyd::report::flush();
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let test = "a_panic_is_one_line_of_the_log_that_names_its_thread";
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(PANICS, "")
        .ended();
    let said = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" error: "))
        .collect();
    let place = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
    let [deep, high] = lines[..] else {
        panic!("not two lines: {said}");
    };
    for (line, thread, words) in [
        (deep, "thread deep panicked at ", "too deep for me"),
        (high, "thread without a name panicked at ", "too high"),
    ] {
        let expected = format!("--T::.Z error: {thread}tests/logs.rs::: {words}");
        assert_eq!(place(line), expected);
    }
}

#[test]
fn a_start_that_fails_ends_though_nobody_reads_why() {
    let here = tempfile::tempdir().expect("a directory");
    for (flags, code) in [(["--window", "0s"], 2), (["--listen", "127.0.0.1:x"], 2)] {
        let Blocked { theirs, ours, .. } = full_pipe();
        assert_eq!(ends(Command::new(TALLYD).args(flags), theirs), code);
        drop(ours);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let Blocked { theirs, ours, .. } = stopped_terminal();
    let mut command = Command::new(TALLYD);
    command.args(["--operator", "none", "--listen", &address, "--data"]);
    command.arg(here.path().join("data"));
    assert_eq!(ends(&mut command, theirs), 1);
    drop(ours);
}

/// The exit code of `command`, which has to end by itself.
fn ends(command: &mut Command, stderr: OwnedFd) -> i32 {
    let mut child = command
        .stderr(Stdio::from(stderr))
        .spawn()
        .expect("it starts");
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return status.code().expect("a code");
        }
        if Instant::now() > until {
            child.kill().expect("it is ours");
            child.wait().expect("it ends");
            panic!("it does not end");
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_command_of_the_shell_waits_for_its_reader() {
    let here = tempfile::tempdir().expect("a directory");
    let Blocked {
        theirs,
        mut ours,
        filled,
    } = full_pipe();
    let mut child = Command::new(TALLYD)
        .arg("verify")
        .arg(here.path())
        .stderr(Stdio::from(theirs))
        .spawn()
        .expect("it starts");
    let mut said = vec![0; filled];
    ours.read_exact(&mut said).expect("dots");
    said.clear();
    ours.read_to_end(&mut said).expect("its error");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let said = String::from_utf8(said).expect("text");
    assert!(
        said.starts_with("tallyd: ") && said.lines().count() == 1,
        "{said}"
    );
}

/// A shell, and the data directory of the server that it has started. Neither outlives this.
struct Shell(Child, PathBuf);

impl Drop for Shell {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
        if std::thread::panicking()
            && let Ok(pid) = std::fs::read_to_string(self.1.join("lock"))
            && let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw)
        {
            let _ended = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_server_in_the_background_of_a_terminal_that_stops_its_writers_goes_on() {
    // A shell in a session of its own, so that the terminal is its terminal; the server is put in the background.
    let here = tempfile::tempdir().expect("a directory");
    let (theirs, ours) = terminal();
    let mut modes = tcgetattr(&theirs).expect("a terminal");
    modes.local_modes |= LocalModes::TOSTOP;
    tcsetattr(&theirs, OptionalActions::Now, &modes).expect("a terminal");
    let place = here.path().join("notify");
    let supervisor = UnixDatagram::bind(&place).expect("a socket");
    supervisor
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    let script = "set -m; \"$@\" & server=$!; read line; kill -TERM $server; wait $server; exit $?";
    let terminal = || Stdio::from(theirs.try_clone().expect("a terminal"));
    let data = here.path().join("data");
    let shell = Command::new("setsid")
        .args(["--ctty", "bash", "-c", script, "bash", TALLYD])
        .args(["--listen", "127.0.0.1:0", "--operator", "none", "--data"])
        .arg(&data)
        .env("NOTIFY_SOCKET", &place)
        .stdin(terminal())
        .stdout(terminal())
        .stderr(terminal())
        .spawn()
        .expect("it starts");
    drop(theirs);
    let mut shell = Shell(shell, data);
    supervisor.recv(&mut [0; 4096]).expect("READY=1 is told");
    let mut ours = File::from(ours);
    let (heard, pieces) = channel();
    let mut listening = ours.try_clone().expect("a terminal");
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        // A terminal that nobody has open any more is an error.
        while let Ok(length @ 1..) = listening.read(&mut piece) {
            let _unheard = heard.send(String::from_utf8_lossy(&piece[..length]).into_owned());
        }
    });
    let mut said = String::new();
    for (text, answer) in [
        ("listening on ", "end\n"),
        ("info: stopped: counted 0 hits", ""),
    ] {
        while !said.contains(text) {
            let piece = pieces.recv_timeout(PATIENCE);
            said += &piece.unwrap_or_else(|_| panic!("no {text}: {said}"));
        }
        ours.write_all(answer.as_bytes()).expect("a line");
    }
    assert!(shell.0.wait().expect("it ends").success());
}
