//! A thread that cannot go on: the server says why, makes the journal safe, and is not deaf but gone.
//!
//! Owns a pool whose worker panics in the middle of a pass, put together from the parts of the library as
//! `serve` does it, and a whole server whose funnel panics over a line of the log.
//!
//! Must not know why a thread would panic. Invariant: what was answered before is counted afterwards.

mod support;

use crossbeam_channel::bounded;
use std::ffi::OsString;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use support::client::{Client, GET};
use support::server::Server;
use tallyd::alarm::Alarm;
use tallyd::clock::{SystemClock, boot_id};
use tallyd::front::pool::{Count, limits::Limits, start_with};
use tallyd::front::{Plan, Stamping};
use tallyd::funnel::{Funnel, Settings};
use tallyd::hit::{Batch, Gone, Line, Message, channel};
use tallyd::journal::disk::RealDisk;
use tallyd::journal::{Limits as Sizes, SyncPolicy};
use tallyd::options::{Command, parse};
use tallyd::serve::serve;
use tallyd::stamp::SECOND_NS;

/// How long a test waits for a thread.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hits that are answered before the worker panics.
const ANSWERED: u64 = 5;

/// Counts by the funnel, until it has had enough.
struct Brittle {
    line: Line,
    left: u64,
}

impl Count for Brittle {
    fn next_batch(&mut self) -> Result<&mut Batch, Gone> {
        self.line.next_batch()
    }

    fn exchange(&mut self) -> Result<&Batch, Gone> {
        self.left = self.left.checked_sub(1).expect("a worker that breaks");
        self.line.exchange()
    }
}

#[test]
fn a_worker_that_panics_raises_the_alarm_and_loses_no_answered_hit() {
    let data = tempfile::tempdir().expect("a directory");
    let (inlet, messages) = channel();
    let (jobs, taken) = bounded(1);
    let settings = Settings {
        window_ns: 3600 * SECOND_NS,
        retain_ns: 3600 * SECOND_NS,
        policy: SyncPolicy::Never,
        limits: Sizes::for_window(3600 * SECOND_NS),
    };
    let disk = RealDisk::open(data.path()).expect("a disk");
    let boot = boot_id().expect("a boot");
    let (funnel, _) = Funnel::open(disk, SystemClock, boot, settings, jobs).expect("a journal");
    let counting = thread::spawn(move || funnel.run(&messages));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (causes, alarms) = bounded(1);
    let plan = Plan {
        listener,
        workers: 1,
        inlet: inlet.clone(),
        clock: SystemClock,
        alarm: Alarm::new(move |cause| causes.send(cause).expect("the test listens")),
        stamping: Stamping::Read,
        limits: Limits::DEFAULT,
        desk: None,
        gauges: Arc::default(),
    };
    let counter = || Brittle {
        line: inlet.line(),
        left: ANSWERED,
    };
    let front = start_with(plan, counter).expect("a pool");
    let mut client = Client::connect(address).expect("the pool listens");
    for tally in 1..=ANSWERED {
        assert_eq!(client.hit().expect("an answer"), tally);
    }
    client.send(GET).expect("a request");
    assert!(client.receive(false).is_err(), "its worker is gone");
    let cause = alarms.recv_timeout(PATIENCE);
    assert_eq!(cause.as_deref(), Ok("thread worker-0 panicked"));
    front.stop();
    inlet.send(Message::Stop).expect("the funnel still runs");
    counting
        .join()
        .expect("no panic")
        .expect("the journal is closed");
    drop(taken);

    let server = Server::start(data.path(), &[]);
    let mut client = Client::connect(server.address).expect("the server listens");
    let tally = client.hit().expect("an answer");
    assert_eq!(tally, ANSWERED + 1);
    server.stop();
}

/// A log whose line from one thread is that thread's end.
struct Deadly;

impl log::Log for Deadly {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let thread = thread::current();
        assert!(thread.name() != Some("funnel"), "it logs {}", record.args());
    }

    fn flush(&self) {}
}

#[test]
fn a_server_that_loses_its_funnel_ends_with_an_error_that_names_it() {
    log::set_logger(&Deadly).expect("the only one");
    log::set_max_level(log::LevelFilter::Info);
    let here = tempfile::tempdir().expect("a directory");
    let (data, aside) = (here.path().join("data"), here.path().join("aside"));
    // The start line, which says the port, is on the standard output of all tests here.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let place = address.to_string();
    let arguments = ["--listen", &place, "--operator", "none", "--data"];
    let arguments = arguments
        .iter()
        .map(OsString::from)
        .chain([data.clone().into()]);
    let Ok(Command::Serve(options)) = parse(arguments, |_| None) else {
        panic!("these are sound");
    };
    let (ends, ended) = bounded(1);
    thread::spawn(move || ends.send(serve(&options).map_err(|error| error.to_string())));
    let until = Instant::now() + PATIENCE;
    while !Client::connect(address).is_ok_and(|mut client| client.hit().is_ok()) {
        assert!(
            Instant::now() < until,
            "it does not start: {:?}",
            ended.try_recv()
        );
        thread::yield_now();
    }
    // The funnel says that it refuses hits once it has noticed that its directory is gone.
    std::fs::rename(&data, &aside).expect("it is moved");
    let ended = loop {
        let _refused = Client::connect(address).and_then(|mut client| client.ask(GET));
        match ended.recv_timeout(Duration::from_millis(20)) {
            Ok(ended) => break ended,
            Err(_) => assert!(Instant::now() < until, "the server does not end"),
        }
    };
    assert_eq!(ended, Err("stopped: thread funnel panicked".to_owned()));
}
