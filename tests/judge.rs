//! P1 and P2 over real sockets, answer by answer: each is held against the records that the journal has.
//!
//! Owns the judgement. A run is several lives of a server on one journal, most of them ended by `kill -9`,
//! with a window so short that hits expire all the time. Afterwards every hit is dumped. The tally that a
//! record must have been answered is the number of records in (t - window, t] up to and including it. Every
//! answer must match a record of its own that has exactly that tally and a timestamp between the instants at
//! which the client began to send and had received. Records that no answer matches must be of requests that
//! were sent and, since the server was killed, not answered.
//!
//! The matching is Glover's for intervals and points: records in order of time, and of the answers that a
//! record may be, the one that must have been received first. It finds the largest matching there is, so an
//! answer that is left over is a wrong one.
//!
//! Settings are drawn from a seed. `TALLYD_TEST_COUNT` says how many seeds. Must not know how the server
//! counts. Invariant: clients and server read one clock, in one boot.

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::client::{Client, GET};
use support::seed::{Chance, count, for_seeds};
use support::server::{Server, stamps};
use tallyd::clock::{Clock, SystemClock};
use tallyd::stamp::{SECOND_NS, Stamp};

/// How far before its arrival a timestamp of the kernel may lie, in ns: see `src/front/pool/arrival.rs`.
const KERNEL_EARLY_NS_MAX: u64 = 6_000;
/// How long one life may take before the test fails.
const LIFE: Duration = Duration::from_secs(60);
/// Connections of one life, where as many descriptors are allowed.
const CONNECTIONS_MAX: u64 = 2_000;
/// Descriptors that the test program has beside those of its connections.
const DESCRIPTORS_SPARE: u64 = 60;

/// One answer, as its client saw it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent: Stamp,
    received: Stamp,
    tally: u64,
}

/// What the clients of all lives saw.
#[derive(Clone, Debug, Default)]
struct Sight {
    seen: Vec<Seen>,
    /// Requests that may have been received and were not answered.
    unanswered: u64,
}

/// Holds what was seen against the records of the journal, oldest first; what is wrong, if anything.
fn judge(sight: &Sight, records: &[Stamp], window_ns: u64, early_ns: u64) -> Result<(), String> {
    let mut by_tally: BTreeMap<u64, (Vec<Stamp>, Vec<Seen>)> = BTreeMap::new();
    let mut head = 0;
    for (index, &record) in records.iter().enumerate() {
        if index > 0 && record < records[index - 1] {
            return Err(format!("record {index} goes back in time"));
        }
        while records[head] <= record.before(window_ns) {
            head += 1;
        }
        let tally = (index + 1 - head) as u64;
        by_tally.entry(tally).or_default().0.push(record);
    }
    for &seen in &sight.seen {
        by_tally.entry(seen.tally).or_default().1.push(seen);
    }
    let mut unmatched_records = 0;
    for (tally, (records, mut answers)) in by_tally {
        answers.sort_by_key(|seen| seen.sent);
        let mut answers = answers.into_iter().peekable();
        // Answers that were sent early enough for the record, the one received first on top.
        let mut open = BinaryHeap::new();
        for record in records {
            while let Some(seen) = answers.next_if(|seen| seen.sent.before(early_ns) <= record) {
                open.push(Reverse((seen.received, seen.sent)));
            }
            match open.pop() {
                Some(Reverse((received, sent))) if received < record => {
                    return Err(format!(
                        "no record of tally {tally} lies between {sent} and {received}"
                    ));
                }
                Some(_) => {}
                None => unmatched_records += 1,
            }
        }
        let left = open.pop().map(|Reverse((received, sent))| (sent, received));
        let left = left.or_else(|| answers.next().map(|seen| (seen.sent, seen.received)));
        if let Some((sent, received)) = left {
            return Err(format!(
                "no record of tally {tally} is left for the answer to {sent}, received at {received}"
            ));
        }
    }
    if unmatched_records > sight.unanswered {
        return Err(format!(
            "{unmatched_records} records match no answer, {} requests had none",
            sight.unanswered
        ));
    }
    Ok(())
}

/// The load of one life.
#[derive(Clone, Copy, Debug)]
struct Load {
    connections: u64,
    /// Requests that are written at once on a connection.
    burst: u64,
    answers: u64,
}

/// Sends bursts on `connections` connections until `wanted` answers have come in all, or the server is gone.
fn client(address: SocketAddr, connections: u64, load: Load, got: &AtomicU64) -> Sight {
    let request = GET.repeat(load.burst as usize);
    let mut sight = Sight::default();
    let mut open: Vec<Client> = Vec::new();
    for _ in 0..connections {
        // A server that was killed meanwhile listens no more.
        match Client::connect(address) {
            Ok(client) => open.push(client),
            Err(_) => return sight,
        }
    }
    while got.load(Ordering::Relaxed) < load.answers {
        let mut sent = Vec::with_capacity(open.len());
        let mut is_gone = false;
        for client in &mut open {
            sent.push(SystemClock.now());
            is_gone |= client.send(&request).is_err();
        }
        for (client, sent) in open.iter_mut().zip(sent) {
            let mut answered = 0;
            while answered < load.burst {
                match tally(client) {
                    Ok(tally) => {
                        let received = SystemClock.now();
                        sight.seen.push(Seen {
                            sent,
                            received,
                            tally,
                        });
                        answered += 1;
                    }
                    Err(_) => {
                        is_gone = true;
                        break;
                    }
                }
            }
            got.fetch_add(answered, Ordering::Relaxed);
            sight.unanswered += load.burst - answered;
        }
        if is_gone {
            break;
        }
    }
    sight
}

/// The tally in the next answer, which must be a certain one.
fn tally(client: &mut Client) -> io::Result<u64> {
    let answer = client.receive(false)?;
    assert!(!answer.head.contains("Tally-Status"), "{answer:?}");
    Ok(answer.tally())
}

/// One life under load, ended by `kill -9` in the middle of it, or by TERM after it.
fn live(server: Server, load: Load, is_killed: bool, sight: &mut Sight) {
    let (got, address) = (AtomicU64::new(0), server.address);
    let threads = load.connections.min(4);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..threads)
            .map(|index| {
                let connections =
                    load.connections / threads + u64::from(index < load.connections % threads);
                let got = &got;
                scope.spawn(move || client(address, connections, load, got))
            })
            .collect();
        let began = Instant::now();
        let mut server = Some(server);
        while clients.iter().any(|client| !client.is_finished()) {
            if is_killed && got.load(Ordering::Relaxed) >= load.answers / 2 {
                server.take().into_iter().for_each(Server::kill);
            }
            assert!(began.elapsed() < LIFE, "{load:?} takes too long");
            std::thread::yield_now();
        }
        let mut unanswered = 0;
        for client in clients {
            let one = client.join().expect("a client");
            sight.seen.extend(one.seen);
            unanswered += one.unanswered;
        }
        assert!(
            is_killed || unanswered == 0,
            "{unanswered} requests had no answer"
        );
        sight.unanswered += unanswered;
        server.into_iter().for_each(|server| {
            server.stop();
        });
    });
}

/// Several lives with settings that `seed` draws; how many answers were judged.
fn run(seed: u64, connections_max: u64) -> u64 {
    let mut chance = Chance::new(seed);
    let window_ms = chance.pick(&[1, 3, 10, 30, 100, 300, 1000]);
    let front = chance.pick(&["pool", "pool", "pool", "tiny-http"]);
    let is_pool = front == "pool";
    let stamp = if is_pool {
        chance.pick(&["read", "kernel"])
    } else {
        "read"
    };
    let sync = chance.pick(&["always", "5ms", "1s", "never"]);
    let workers = chance.pick(&["1", "2", "4"]);
    let (window, data) = (
        format!("{window_ms}ms"),
        tempfile::tempdir().expect("a directory"),
    );
    let flags = [
        "--window",
        &*window,
        "--retain",
        "1h",
        "--front",
        front,
        "--stamp",
        stamp,
        "--sync",
        sync,
        "--workers",
        workers,
        "--connections",
        "2100",
    ];
    let mut sight = Sight::default();
    for _ in 0..chance.between(1, 3) {
        let most = if is_pool {
            [1, 4, 32, 200, CONNECTIONS_MAX]
        } else {
            [1, 2, 4, 4, 4]
        };
        let connections = chance.pick(&most).min(connections_max);
        let load = Load {
            connections,
            burst: chance.pick(&[1, 1, 4, 32]),
            answers: chance.between(1, 2_000).max(connections),
        };
        live(
            Server::start(data.path(), &flags),
            load,
            chance.once(2),
            &mut sight,
        );
    }
    let early_ns = if stamp == "kernel" {
        KERNEL_EARLY_NS_MAX
    } else {
        0
    };
    let records = stamps(data.path());
    let verdict = judge(&sight, &records, window_ms * SECOND_NS / 1_000, early_ns);
    assert_eq!(verdict, Ok(()), "seed {seed}: {flags:?}");
    sight.seen.len() as u64
}

/// Raises the limit on descriptors as far as it may, and says how many connections it allows.
fn connections_max() -> u64 {
    let had = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS_MAX + DESCRIPTORS_SPARE;
    let wanted = had.maximum.map_or(wanted, |most| most.min(wanted));
    let raised = Rlimit {
        current: had.current.map(|now| now.max(wanted)),
        ..had
    };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is allowed");
    (wanted - DESCRIPTORS_SPARE).min(CONNECTIONS_MAX)
}

#[test]
fn every_answer_matches_a_record_of_its_own_with_its_tally_and_in_its_time() {
    let connections_max = connections_max();
    let judged = Cell::new(0);
    for_seeds(count(12), |seed| {
        judged.set(judged.get() + run(seed, connections_max))
    });
    println!("{} answers judged", judged.get());
}

/// Ten hits 10 ms apart with a window of 35 ms, each seen from 1 ms before it to 1 ms after it.
fn sound() -> (Sight, Vec<Stamp>, u64) {
    let ms = |ms: i64| Stamp::from_ns(ms * 1_000_000);
    let records: Vec<Stamp> = (1..=10).map(|hit| ms(hit * 10)).collect();
    let seen = (1..=10).map(|hit| Seen {
        sent: ms(hit * 10 - 1),
        received: ms(hit * 10 + 1),
        tally: hit.min(4) as u64,
    });
    let sight = Sight {
        seen: seen.collect(),
        unanswered: 0,
    };
    (sight, records, 35_000_000)
}

#[test]
fn judge_accepts_what_is_right() {
    let (mut sight, records, window_ns) = sound();
    assert_eq!(judge(&sight, &records, window_ns, 0), Ok(()));
    // A killed server did not answer the last one.
    sight.seen.pop();
    sight.unanswered = 1;
    assert_eq!(judge(&sight, &records, window_ns, 0), Ok(()));
}

#[test]
fn judge_notices_every_kind_of_wrong_answer() {
    type Harm = fn(&mut Sight, &mut Vec<Stamp>);
    let harms: [(&str, Harm); 8] = [
        ("a tally too large", |sight, _| sight.seen[4].tally += 1),
        ("a tally too small", |sight, _| sight.seen[4].tally -= 1),
        ("two tallies exchanged", |sight, _| {
            (sight.seen[1].tally, sight.seen[2].tally) = (3, 2);
        }),
        ("a record before its request", |_, records| {
            records[5] = records[5].before(2_000_000);
        }),
        ("a record after its answer", |_, records| {
            records[5] = records[5].after(2_000_000);
        }),
        ("an answered record lost", |_, records| {
            records.remove(9);
        }),
        ("a record nobody asked for", |_, records| {
            let last = records[9].after(20_000_000);
            records.push(last);
        }),
        ("a hit answered twice", |sight, _| {
            let seen = sight.seen[6];
            sight.seen.push(seen);
        }),
    ];
    for (name, harm) in harms {
        let (mut sight, mut records, window_ns) = sound();
        harm(&mut sight, &mut records);
        let verdict = judge(&sight, &records, window_ns, 0);
        assert!(verdict.is_err(), "{name} is not noticed");
    }
}
