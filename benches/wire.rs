//! How far a hit's stamp lies behind the arrival of its bytes at the kernel, and what kernel stamps cost.
//!
//! `cargo bench --bench wire [-- --quick]` starts the server by each front and way of stamping, idle and
//! with a number of connections that hit without a pause, and sends probes on a connection of its own. The
//! kernel stamps each probe as it leaves (`SO_TIMESTAMPING` on the sending socket), which on loopback is
//! its arrival but for what lies between the two; how much that is, is measured first, on a pair of sockets
//! that has both stamps. The stamps of the hits are taken from the journal by `tallyd dump`.
//!
//! Then the pool serves in turns without and with kernel stamps, and its CPU for a hit is compared.
//!
//! Owns the probes and the tables. Must not know of the server's inside. Invariant: times are never
//! asserted; a probe that is answered wrongly, or a wall clock that is stepped meanwhile, ends the run with
//! exit code 1.

#![forbid(unsafe_code)]

#[path = "../tests/support/mod.rs"]
mod support;

use mio::{Events, Interest, Poll, Token};
use nix::sys::socket::sockopt::Timestamping;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt};
use std::fs;
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::client::{Client, GET};
use support::server::{Server, stamps};
use tallyd::clock::{Clock, SystemClock};
use tallyd::stamp::{Anchor, Stamp};

/// Anything that makes a figure worthless.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Between two probes: longer than a pass takes.
const PAUSE: Duration = Duration::from_micros(500);
/// How long a probe may be without an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// By how much the clocks may seem to have moved against each other in a run, in nanoseconds.
const STEP_NS_MIN: u64 = 10_000;
/// Connections under load; `tiny-http` starves some of more than a few at once.
const CONNECTIONS: usize = 64;
const CONNECTIONS_TINY: usize = 8;

/// How much is measured.
struct Scale {
    probes: usize,
    rounds: usize,
    round: Duration,
}

const FULL: Scale = Scale {
    probes: 5_000,
    rounds: 9,
    round: Duration::from_secs(2),
};

const QUICK: Scale = Scale {
    probes: 300,
    rounds: 3,
    round: Duration::from_millis(300),
};

/// A server on a directory of its own.
struct Life {
    data: tempfile::TempDir,
    server: Server,
}

impl Life {
    fn start(front: &str, stamp: &str) -> Outcome<Self> {
        let data = tempfile::tempdir()?;
        let server = Server::start(data.path(), &["--front", front, "--stamp", stamp]);
        Ok(Self { data, server })
    }

    /// CPU time of all its threads, in nanoseconds.
    fn cpu_ns(&self) -> Outcome<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.server.pid().as_raw_pid()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Ends it; the stamps of all its hits, oldest first.
    fn stamps(self) -> Vec<Stamp> {
        self.server.stop();
        stamps(self.data.path())
    }
}

/// The clocks now, read as close together as three tries get.
fn anchor() -> Anchor {
    let look = |_| {
        let anchor = SystemClock.anchor();
        (SystemClock.now().since(anchor.at), anchor)
    };
    let looks = [(); 3].map(look);
    looks
        .into_iter()
        .min_by_key(|(apart, _)| *apart)
        .expect("three")
        .1
}

/// The software stamp that came with a message of `socket`, in wall nanoseconds; waits for one.
fn stamp_ns(socket: &TcpStream, flags: MsgFlags) -> Outcome<i64> {
    let mut room = nix::cmsg_space!([u8; 256]);
    let until = SystemClock.now().after(PATIENCE.as_nanos() as u64);
    while SystemClock.now() < until {
        let mut bytes = [0; 64];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let read = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags) {
            Err(nix::errno::Errno::EAGAIN) => continue,
            read => read?,
        };
        for message in read.cmsgs()? {
            if let ControlMessageOwned::ScmTimestampsns(stamps) = message {
                return Ok(i64::try_from(Duration::from(stamps.system).as_nanos())?);
            }
        }
    }
    Err("the kernel does not stamp what is sent".into())
}

/// Has `socket` stamp what it sends, or receives.
fn stamped(socket: &TcpStream, way: TimestampingFlag) -> Outcome<()> {
    let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
        | way;
    Ok(setsockopt(socket, Timestamping, &flags)?)
}

/// How long after they have left bytes arrive, in nanoseconds, by the stamps of both ends.
fn between_ends(count: usize) -> Outcome<Vec<i64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    sender.set_nodelay(true)?;
    stamped(&sender, TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE)?;
    stamped(&receiver, TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE)?;
    // The kernel begins to stamp what arrives a moment after it was asked to.
    std::thread::sleep(Duration::from_millis(100));
    (0..count)
        .map(|_| {
            sender.write_all(GET)?;
            let left = stamp_ns(&sender, MsgFlags::MSG_ERRQUEUE)?;
            Ok(stamp_ns(&receiver, MsgFlags::empty())? - left)
        })
        .collect()
}

/// Keeps one request under way on each of so many connections until `done`.
fn load(address: SocketAddr, connections: usize, done: &AtomicBool) -> Outcome<()> {
    let mut poll = Poll::new()?;
    let mut clients = Vec::new();
    for place in 0..connections {
        let mut client = mio::net::TcpStream::from_std(TcpStream::connect(address)?);
        client.set_nodelay(true)?;
        poll.registry()
            .register(&mut client, Token(place), Interest::READABLE)?;
        client.write_all(GET)?;
        clients.push(client);
    }
    let mut events = Events::with_capacity(connections.max(1));
    let mut bytes = [0; 512];
    while !done.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        for event in &events {
            let client = &mut clients[event.token().0];
            match client.read(&mut bytes) {
                Ok(0) => return Err("a connection under load ends".into()),
                // An answer is less than one segment, and comes whole.
                Ok(_) => client.write_all(GET)?,
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }
    Ok(())
}

/// How far the stamps of so many probes lie behind their sending, in nanoseconds.
fn lags(front: &str, stamp: &str, connections: usize, probes: usize) -> Outcome<Vec<i64>> {
    let life = Life::start(front, stamp)?;
    let address = life.server.address;
    let mut probe = Client::connect(address)?;
    let socket = probe.writer()?;
    stamped(&socket, TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE)?;
    let done = Arc::new(AtomicBool::new(false));
    let loading = std::thread::spawn({
        let done = Arc::clone(&done);
        move || load(address, connections, &done).map_err(|error| error.to_string())
    });
    let before = anchor();
    let mut sent = Vec::with_capacity(probes);
    for _ in 0..probes {
        std::thread::sleep(PAUSE);
        probe.send(GET)?;
        let left_ns = stamp_ns(&socket, MsgFlags::MSG_ERRQUEUE)?;
        sent.push((left_ns, probe.receive(false)?.tally()));
    }
    let after = anchor();
    done.store(true, Ordering::Relaxed);
    loading.join().map_err(|_| "the load panics")??;
    if before.wall_at(after.at).abs_diff(after.wall_ns) > STEP_NS_MIN {
        return Err("the wall clock was stepped meanwhile".into());
    }
    let stamps = life.stamps();
    let lag = |(left_ns, tally): (i64, u64)| {
        let stamp = stamps
            .get(tally as usize - 1)
            .ok_or("a tally without a hit")?;
        Ok(stamp.ns() - before.stamp_at(left_ns).ns())
    };
    sent.into_iter().map(lag).collect()
}

/// Hits under load for a while, and the CPU for each in nanoseconds.
fn cost_ns(stamp: &str, round: Duration) -> Outcome<f64> {
    let life = Life::start("pool", stamp)?;
    let address = life.server.address;
    let done = AtomicBool::new(false);
    let cpu_ns = std::thread::scope(|scope| {
        let loading =
            scope.spawn(|| load(address, CONNECTIONS, &done).map_err(|error| error.to_string()));
        std::thread::sleep(round);
        done.store(true, Ordering::Relaxed);
        loading.join().map_err(|_| "the load panics")??;
        life.cpu_ns()
    })?;
    Ok(cpu_ns as f64 / life.stamps().len() as f64)
}

/// A row of microseconds.
fn row(name: &str, mut ns: Vec<i64>) {
    ns.sort_unstable();
    let at = |part: f64| ns[((ns.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    let [low, half, most, late, rare, last] = [0.0, 0.5, 0.9, 0.99, 0.999, 1.0].map(at);
    println!("| {name} | {low:.1} | {half:.1} | {most:.1} | {late:.1} | {rare:.1} | {last:.1} |");
}

fn run(scale: &Scale) -> Outcome<()> {
    println!(
        "µs from the arrival of a hit's bytes to its stamp, {} probes each:\n",
        scale.probes
    );
    println!(
        "| | least | 50 % | 90 % | 99 % | 99.9 % | most |\n|---|---:|---:|---:|---:|---:|---:|"
    );
    row("kernel to kernel", between_ends(scale.probes)?);
    for (front, stamp, connections) in [
        ("tiny-http", "read", CONNECTIONS_TINY),
        ("pool", "read", CONNECTIONS),
        ("pool", "kernel", CONNECTIONS),
    ] {
        for connections in [0, connections] {
            let name = match connections {
                0 => format!("{front}, `--stamp {stamp}`, idle"),
                _ => {
                    format!("{front}, `--stamp {stamp}`, {connections} connections without a pause")
                }
            };
            row(&name, lags(front, stamp, connections, scale.probes)?);
        }
    }
    let mut pairs = Vec::new();
    for _ in 0..scale.rounds {
        pairs.push((
            cost_ns("read", scale.round)?,
            cost_ns("kernel", scale.round)?,
        ));
    }
    let middle = |of: fn(&(f64, f64)) -> f64| {
        let mut figures: Vec<f64> = pairs.iter().map(of).collect();
        figures.sort_unstable_by(f64::total_cmp);
        (
            figures[figures.len() / 2],
            figures[0],
            figures[figures.len() - 1],
        )
    };
    let (read, ..) = middle(|pair| pair.0);
    let (kernel, ..) = middle(|pair| pair.1);
    let (ratio, least, most) = middle(|pair| pair.1 / pair.0);
    println!(
        "\nCPU for a hit at {CONNECTIONS} connections: {:.2} µs by its read, {:.2} µs by the kernel, \
         {ratio:.3} × in the middle of {} rounds ({least:.3} to {most:.3})",
        read / 1e3,
        kernel / 1e3,
        scale.rounds,
    );
    Ok(())
}

fn main() -> ExitCode {
    // Cargo says `--bench` when it measures. When it tests, all is run once around, and quickly.
    let is = |name: &str| std::env::args().any(|argument| argument == name);
    let scale = if is("--quick") || !is("--bench") {
        QUICK
    } else {
        FULL
    };
    match run(&scale) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wire: {error}");
            ExitCode::FAILURE
        }
    }
}
