//! A whole server inside the test's process: real sockets and threads, a simulated disk, a clock moved by hand.
//!
//! Owns what `serve` puts together: funnel, sync thread, pool and admin listener. Everything but the host names
//! runs on the clock by hand, so that a figure of time changes by what the test lets pass and by nothing else.
//!
//! Must not know what is tested. Invariant: its threads end with the value that started them.

use super::client::{Answer, Client};
use super::disk::SimDisk;
use super::rig::{BOOT, send, settings};
use crossbeam_channel::bounded;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tallyd::alarm::Alarm;
use tallyd::clock::{Calendar, Clock, HandClock, SystemClock};
use tallyd::error::Result;
use tallyd::front::desk::Desk;
use tallyd::front::gauges::{Gauges, Side};
use tallyd::front::pool::limits::Limits;
use tallyd::front::{Front, Kind, Plan, Stamping, start};
use tallyd::funnel::{Funnel, Settings};
use tallyd::hit::{Answer as Told, Ask, Inlet, Line, Message, Status, Verdict, channel};
use tallyd::journal::SyncPolicy;
use tallyd::lives::Gaps;
use tallyd::operator::{Facts, Operator};
use tallyd::serve::run_syncs;
use tallyd::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};

/// The window, unless a test changes it.
pub const WINDOW_NS: u64 = 10 * SECOND_NS;
/// Records of a segment, unless a test changes it.
pub const RECORDS: u64 = 5;
/// Connections for hits that are let in.
pub const CONNECTIONS_MAX: usize = 2;
/// How long a test waits for something that a thread is about to do.
const WAIT: Duration = Duration::from_secs(30);

/// What a server is started with.
#[derive(Clone)]
pub struct Config {
    pub settings: Settings,
    /// How long a client may take for a request head.
    pub head_ns_max: u64,
    /// The sync policy as the admin listener shows it.
    pub sync: String,
    pub doubt: Option<String>,
    pub gaps: Gaps,
}

impl Config {
    /// Segments of [`RECORDS`] records, the window and no more of history, and no syncs.
    pub fn new() -> Self {
        let mut settings = settings(SyncPolicy::Never, RECORDS, WINDOW_NS);
        settings.window_ns = WINDOW_NS;
        settings.limits.seal_age_ns = 1000 * WINDOW_NS;
        Self {
            settings,
            head_ns_max: 3600 * SECOND_NS,
            sync: "never".to_owned(),
            doubt: None,
            gaps: Gaps::default(),
        }
    }

    /// The same with a sync after every hit, which no answer waits for.
    pub fn synced() -> Self {
        let mut config = Self::new();
        config.settings.policy = SyncPolicy::Every { period_ns: 0 };
        config
    }
}

/// A server that runs.
pub struct Embedded {
    pub disk: SimDisk,
    pub clock: HandClock,
    pub calendar: Calendar,
    pub config: Config,
    /// Where hits come in, and where the admin listener is.
    pub address: SocketAddr,
    pub operator: SocketAddr,
    /// Connections that a test keeps open.
    pub clients: Vec<Client>,
    inlet: Inlet,
    gauges: Arc<Gauges>,
    front: Option<Box<dyn Front>>,
    funnel: Option<JoinHandle<Result<()>>>,
    syncs: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Starts one on an empty disk.
    pub fn start(config: Config) -> Self {
        // The first reading may have been torn apart by another thread; the calendar's own was not.
        let calendar = Calendar::new(SystemClock.anchor());
        let now = calendar.now(&SystemClock);
        let clock = HandClock::new(now.at, now.wall_ns);
        Self::start_on(&SimDisk::default(), &clock, calendar, config)
    }

    fn start_on(disk: &SimDisk, clock: &HandClock, calendar: Calendar, config: Config) -> Self {
        let (inlet, messages) = channel();
        let (sender, jobs) = bounded(1);
        let (mut funnel, _) =
            Funnel::open(disk.clone(), clock.clone(), BOOT, config.settings, sender)
                .expect("a journal that can be recovered");
        if config.doubt.is_some() {
            funnel.doubt_until(clock.now());
        }
        let funnel = thread::spawn(move || funnel.run(&messages));
        let sync_inlet = inlet.clone();
        let syncs = thread::spawn(move || run_syncs(&jobs, &sync_inlet));
        let gauges = Arc::<Gauges>::default();
        let [hits, desk] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [address, admin] = [&hits, &desk].map(|door| door.local_addr().expect("an address"));
        let facts = Facts {
            window_ns: config.settings.window_ns,
            retain_ns: config.settings.retain_ns,
            sync: config.sync.clone(),
            began: clock.now(),
            hosts: Vec::new(),
            gaps: config.gaps.clone(),
            doubt: config.doubt.clone(),
        };
        let operator = Operator::new(facts, calendar.clone(), inlet.clone(), Arc::clone(&gauges));
        let plan = Plan {
            listener: hits,
            workers: 1,
            inlet: inlet.clone(),
            clock: clock.clone(),
            alarm: Alarm::new(|cause| eprintln!("alarm: {cause}")),
            stamping: Stamping::Read,
            limits: Limits {
                connections_max: CONNECTIONS_MAX,
                head_ns_max: config.head_ns_max,
                idle_ns_max: 24 * 3600 * SECOND_NS,
                ..Limits::DEFAULT
            },
            desk: Some(Desk {
                listener: desk,
                operator: Arc::new(operator),
            }),
            gauges: Arc::clone(&gauges),
        };
        Self {
            disk: disk.clone(),
            clock: clock.clone(),
            calendar,
            config,
            address,
            operator: admin,
            clients: Vec::new(),
            front: Some(start(Kind::Pool, plan).expect("a pool")),
            inlet,
            gauges,
            funnel: Some(funnel),
            syncs: Some(syncs),
        }
    }

    /// Ends it and starts another on what it has left on the disk, changed by `change`.
    pub fn restart(mut self, config: Config, change: impl FnOnce(&SimDisk)) -> Self {
        let now = self.clock.anchor();
        self.end();
        let disk = self.disk.kill();
        change(&disk);
        // No time passes between the two: that the first one took to end is forgotten.
        let clock = HandClock::new(now.at, now.wall_ns);
        Self::start_on(&disk, &clock, self.calendar.clone(), config)
    }

    /// A new connection for hits that is kept, and the answer to one hit on it.
    pub fn hit(&mut self) -> Answer {
        let mut client = Client::connect(self.address).expect("the pool listens");
        let answer = client.ask(super::client::GET).expect("an answer");
        self.clients.push(client);
        answer
    }

    /// Hits with these stamps, in one batch, past the sockets.
    pub fn batch(&self, stamps: &[Stamp]) -> Verdict {
        let mut line = self.send(stamps);
        line.wait().expect("a funnel").verdict()
    }

    /// Moves the clock when the turn of the last answer has ended, with the rotation that may follow it.
    pub fn advance(&self, ns: u64) {
        self.inlet.ask(Ask::Status).expect("a funnel");
        self.clock.advance(ns);
    }

    /// The same as `batch` without waiting for the answer.
    pub fn send(&self, stamps: &[Stamp]) -> Line {
        send(&self.inlet, stamps)
    }

    /// What the admin listener answers to a connection of its own.
    pub fn ask(&self, path: &str) -> Answer {
        let mut client = Client::connect(self.operator).expect("the admin listener");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.ask(request.as_bytes()).expect("an answer")
    }

    /// Waits until the funnel says what `is_so`.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Status) -> bool) {
        self.wait(what, || match self.inlet.ask(Ask::Status) {
            Ok(Told::Status(status)) => is_so(&status),
            _ => panic!("the funnel is gone"),
        });
    }

    /// Waits until so many connections are open on `side`.
    pub fn wait_for_connections(&self, side: Side, count: usize) {
        self.wait("connections", || self.gauges.open(side) == count);
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < WAIT, "waited in vain: {what}");
            thread::yield_now();
        }
    }

    /// Ends the funnel alone, as a panic of its thread would.
    pub fn end_funnel(&mut self) {
        let _gone = self.inlet.send(Message::Stop);
        let funnel = self.funnel.take().expect("it runs");
        let _outcome = funnel.join().expect("no panic");
    }

    fn end(&mut self) {
        self.clients.clear();
        if let Some(front) = self.front.take() {
            // What idle connections are still given is time on the clock by hand.
            let has_stopped = AtomicBool::new(false);
            thread::scope(|scope| {
                let (clock, has_stopped) = (&self.clock, &has_stopped);
                scope.spawn(|| {
                    while !has_stopped.load(Ordering::SeqCst) {
                        clock.advance(MILLISECOND_NS);
                        thread::yield_now();
                    }
                });
                front.stop();
                has_stopped.store(true, Ordering::SeqCst);
            });
        }
        let _gone = self.inlet.send(Message::Stop);
        let _outcome = self.funnel.take().map(JoinHandle::join);
        let _outcome = self.syncs.take().map(JoinHandle::join);
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end();
    }
}
