//! Every sample of `/metrics` and every field of `/status`, each changed by its cause.
//!
//! Owns one table: a row brings about one cause in a server on a simulated disk and a clock moved by hand, and
//! names every sample and field that changes by it. A change that is not named fails the row, and so does a
//! named change that is missing: a counter that is wrong, swapped or in another unit shows as both. What the
//! server shows and no row changes fails the last assertion, so a new metric or field needs a row.
//!
//! Must not know how the pages are made. Invariant: both pages of one observation are of one instant.

use crate::support::client::Client;
use crate::support::embedded::{CONNECTIONS_MAX, Config, Embedded, WINDOW_NS};
use crate::support::fault::{EIO, Faults, Op, PANIC};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tallyd::clock::Clock;
use tallyd::front::gauges::Side;
use tallyd::funnel::LATE_NS_MAX;
use tallyd::hit::Verdict;
use tallyd::journal::name;
use tallyd::notation::parse_instant;
use tallyd::stamp::{MILLISECOND_NS, SECOND_NS};

/// What both pages and `/readyz` show, by name: `tallyd_hits_total`, `status.tally`, `readyz`.
type Shown = BTreeMap<String, String>;
/// A change: a number by how much, any other text what it is now, and nothing if it is no longer shown.
type Changes = BTreeMap<String, String>;

/// A cause, and all that changes by it.
struct Row {
    cause: &'static str,
    config: fn() -> Config,
    arrange: fn(&mut Embedded),
    act: fn(Embedded) -> Embedded,
    /// Where a name stands twice, the later one holds.
    effect: &'static [&'static [(&'static str, &'static str)]],
}

/// A counted hit behind another one, in no time.
const COUNTED: [(&str, &str); 13] = [
    ("status.journal_bytes", "+8"),
    ("status.tally", "+1"),
    ("status.total", "+1"),
    ("tallyd_batch_hits_count", "+1"),
    ("tallyd_batch_hits_sum", "+1"),
    ("tallyd_batch_hits{le=1}", "+1"),
    ("tallyd_flush_seconds_count", "+1"),
    ("tallyd_flush_seconds{le=0.000001}", "+1"),
    ("tallyd_hits_total", "+1"),
    ("tallyd_journal_bytes", "+8"),
    ("tallyd_turn_seconds_count", "+1"),
    ("tallyd_turn_seconds{le=0.000001}", "+1"),
    ("tallyd_window_hits", "+1"),
];

/// What is different where it is the first hit, and so the first of a segment.
const FIRST: [(&str, &str); 5] = [
    ("status.journal_bytes", "+72"),
    ("status.segments", "+1"),
    ("tallyd_journal_bytes", "+72"),
    ("tallyd_oldest_record_age_seconds", "0"),
    ("tallyd_segments", "+1"),
];

const ROWS: &[Row] = &[
    Row {
        cause: "a hit on a new connection",
        config: Config::new,
        arrange: |_| {},
        act: |mut server| {
            assert_eq!(server.hit().tally(), 1);
            server
        },
        effect: &[
            &COUNTED,
            &FIRST,
            &[
                ("status.connections", "+1"),
                ("tallyd_connections_total{side=hits}", "+1"),
                ("tallyd_connections{side=hits}", "+1"),
                ("tallyd_oldest_record_age_seconds", "0"),
            ],
        ],
    },
    Row {
        cause: "three hits of one batch whose write takes 3 ms",
        config: Config::new,
        arrange: |server| {
            server.hit();
            let clock = server.clock.clone();
            let slow = |faults: &mut Faults| faults.slow(Op::Write, 3 * MILLISECOND_NS, &clock);
            server.disk.faults(slow);
        },
        act: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 3]), Verdict::Counted);
            server
        },
        effect: &[&[
            ("status.journal_bytes", "+24"),
            ("status.tally", "+3"),
            ("status.total", "+3"),
            ("tallyd_batch_hits{le=4}", "+1"),
            ("tallyd_batch_hits_count", "+1"),
            ("tallyd_batch_hits_sum", "+3"),
            ("tallyd_flush_seconds_count", "+1"),
            ("tallyd_flush_seconds_sum", "+0.003"),
            ("tallyd_flush_seconds{le=0.004096}", "+1"),
            ("tallyd_hits_total", "+3"),
            ("tallyd_journal_bytes", "+24"),
            ("tallyd_oldest_record_age_seconds", "+0.003"),
            ("tallyd_turn_seconds_count", "+1"),
            ("tallyd_turn_seconds_sum", "+0.003"),
            ("tallyd_turn_seconds{le=0.004096}", "+1"),
            ("tallyd_window_hits", "+3"),
        ]],
    },
    Row {
        cause: "the end of a connection for hits",
        config: Config::new,
        arrange: |server| {
            server.hit();
        },
        act: |mut server| {
            server.clients.clear();
            server.wait_for_connections(Side::Hits, 0);
            server
        },
        effect: &[&[
            ("status.connections", "-1"),
            ("tallyd_connections{side=hits}", "-1"),
        ]],
    },
    Row {
        cause: "a request on a new connection to the admin listener",
        config: Config::new,
        arrange: |_| {},
        act: |mut server| {
            let mut client = Client::connect(server.operator).expect("the admin listener");
            let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
            assert_eq!(client.ask(request).expect("an answer").status, 200);
            server.clients.push(client);
            server
        },
        effect: &[&[
            ("status.operators", "+1"),
            ("tallyd_connections_total{side=operator}", "+1"),
            ("tallyd_connections{side=operator}", "+1"),
            ("tallyd_operator_requests_total", "+1"),
        ]],
    },
    Row {
        cause: "a malformed head",
        config: Config::new,
        arrange: |_| {},
        act: |server| rejected(server, 400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        effect: &[&[
            ("status.refused", "+1"),
            ("tallyd_connections_total{side=hits}", "+1"),
            ("tallyd_refused_total{reason=malformed}", "+1"),
        ]],
    },
    Row {
        cause: "a target that is too long",
        config: Config::new,
        arrange: |_| {},
        act: |server| {
            rejected(
                server,
                414,
                &[b"GET /".to_vec(), vec![b'x'; 20_000]].concat(),
            )
        },
        effect: &[&[
            ("status.refused", "+1"),
            ("tallyd_connections_total{side=hits}", "+1"),
            ("tallyd_refused_total{reason=uri_too_long}", "+1"),
        ]],
    },
    Row {
        cause: "a head that is too large",
        config: Config::new,
        arrange: |_| {},
        act: |server| {
            let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 40_000]].concat();
            rejected(server, 431, &head)
        },
        effect: &[&[
            ("status.refused", "+1"),
            ("tallyd_connections_total{side=hits}", "+1"),
            ("tallyd_refused_total{reason=head_too_large}", "+1"),
        ]],
    },
    Row {
        cause: "a method that is not implemented",
        config: Config::new,
        arrange: |_| {},
        act: |server| rejected(server, 501, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        effect: &[&[
            ("status.refused", "+1"),
            ("tallyd_connections_total{side=hits}", "+1"),
            ("tallyd_refused_total{reason=not_implemented}", "+1"),
        ]],
    },
    Row {
        cause: "an unknown major version",
        config: Config::new,
        arrange: |_| {},
        act: |server| rejected(server, 505, b"GET / HTTP/2.0\r\n\r\n"),
        effect: &[&[
            ("status.refused", "+1"),
            ("tallyd_connections_total{side=hits}", "+1"),
            ("tallyd_refused_total{reason=version}", "+1"),
        ]],
    },
    Row {
        cause: "a head that takes too long",
        config: || Config {
            head_ns_max: 20 * MILLISECOND_NS,
            ..Config::new()
        },
        arrange: |server| {
            let mut client = Client::connect(server.address).expect("the pool listens");
            client.send(b"GET / HTTP/1.1\r\n").expect("half a head");
            server.clients.push(client);
            server.wait_for_connections(Side::Hits, 1);
        },
        act: |mut server| {
            let mut client = server.clients.remove(0);
            advance_until_answered(&server, &mut client);
            assert_eq!(client.receive(false).expect("an answer").status, 408);
            drop(client);
            server.wait_for_connections(Side::Hits, 0);
            server
        },
        effect: &[&[
            ("status.connections", "-1"),
            ("status.refused", "+1"),
            ("tallyd_connections{side=hits}", "-1"),
            ("tallyd_refused_total{reason=slow}", "+1"),
        ]],
    },
    Row {
        cause: "a connection above the limit",
        config: Config::new,
        arrange: |server| {
            for _ in 0..CONNECTIONS_MAX {
                let mut client = Client::connect(server.address).expect("the pool listens");
                client.send(b"GET / HTTP/1.1\r\n").expect("half a head");
                server.clients.push(client);
            }
            server.wait_for_connections(Side::Hits, CONNECTIONS_MAX);
        },
        act: |mut server| {
            let mut client = Client::connect(server.address).expect("the kernel accepts");
            advance_until_answered(&server, &mut client);
            assert_eq!(client.receive(false).expect("an answer").status, 503);
            server.clients.push(client);
            server
        },
        effect: &[&[
            ("status.refused", "+1"),
            ("tallyd_refused_total{reason=connections}", "+1"),
        ]],
    },
    Row {
        cause: "two hits that the disk does not take",
        config: Config::new,
        arrange: |server| {
            server
                .disk
                .faults(|faults| faults.sticky(Op::Write, 1, EIO));
        },
        act: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 2]), Verdict::Refused);
            server
        },
        effect: &[&[
            (
                "readyz",
                "503 disk refusing: cannot append to sim/0000000000000000.seg: input/output error",
            ),
            ("status.ready", "false"),
            (
                "status.reasons",
                "disk refusing: cannot append to sim/0000000000000000.seg: input/output error",
            ),
            ("status.refused", "+2"),
            ("tallyd_batch_hits{le=2}", "+1"),
            ("tallyd_batch_hits_count", "+1"),
            ("tallyd_batch_hits_sum", "+2"),
            ("tallyd_errors_total{kind=append}", "+1"),
            ("tallyd_ready", "-1"),
            ("tallyd_refused_total{reason=disk}", "+2"),
            ("tallyd_turn_seconds_count", "+1"),
            ("tallyd_turn_seconds{le=0.000001}", "+1"),
        ]],
    },
    Row {
        cause: "a disk that takes hits again",
        config: Config::new,
        arrange: |server| {
            assert_eq!(server.hit().tally(), 1);
            server.disk.faults(|faults| faults.once(Op::Write, 1, EIO));
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Refused);
        },
        act: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
            server
        },
        effect: &[
            &COUNTED,
            &[
                ("readyz", "200 ready"),
                ("status.ready", "true"),
                ("status.reasons", ""),
                ("tallyd_ready", "+1"),
            ],
        ],
    },
    Row {
        cause: "a sync that takes 20 ms",
        config: Config::synced,
        arrange: |server| {
            let clock = server.clock.clone();
            let slow = |faults: &mut Faults| faults.slow(Op::SyncFile, 20 * MILLISECOND_NS, &clock);
            server.disk.faults(slow);
        },
        act: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
            server.wait_for("a sync", |status| status.meters.sync_ns.count() == 1);
            server
        },
        effect: &[
            &COUNTED,
            &FIRST,
            &[
                ("tallyd_oldest_record_age_seconds", "0.02"),
                ("tallyd_sync_seconds_count", "+1"),
                ("tallyd_sync_seconds_sum", "+0.02"),
                ("tallyd_sync_seconds{le=0.065536}", "+1"),
            ],
        ],
    },
    Row {
        cause: "a sync that fails",
        config: Config::synced,
        arrange: |server| synced_once(server),
        act: |server| failed_sync(server, EIO),
        effect: &[
            &COUNTED,
            &[
                (
                    "readyz",
                    "503 sync failing: cannot sync sim/0000000000000000.seg: input/output error",
                ),
                ("status.ready", "false"),
                (
                    "status.reasons",
                    "sync failing: cannot sync sim/0000000000000000.seg: input/output error",
                ),
                ("tallyd_errors_total{kind=sync}", "+1"),
                ("tallyd_ready", "-1"),
            ],
        ],
    },
    Row {
        cause: "a sync that panics",
        config: Config::synced,
        arrange: |server| synced_once(server),
        act: |server| failed_sync(server, PANIC),
        effect: &[
            &COUNTED,
            &[
                ("readyz", "503 sync failing: sync: its thread panicked"),
                ("status.ready", "false"),
                ("status.reasons", "sync failing: sync: its thread panicked"),
                ("tallyd_errors_total{kind=sync}", "+1"),
                ("tallyd_ready", "-1"),
            ],
        ],
    },
    Row {
        cause: "a sync that succeeds after one that failed",
        config: Config::synced,
        arrange: |server| {
            server
                .disk
                .faults(|faults| faults.once(Op::SyncFile, 1, EIO));
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
            server.wait_for("a failure", |status| status.meters.sync_failures == 1);
        },
        act: |mut server| {
            synced_once(&mut server);
            server
        },
        effect: &[
            &COUNTED,
            &[
                ("readyz", "200 ready"),
                ("status.ready", "true"),
                ("status.reasons", ""),
                // A segment whose sync failed gets no more records.
                ("status.journal_bytes", "+72"),
                ("status.segments", "+1"),
                ("tallyd_journal_bytes", "+72"),
                ("tallyd_segments", "+1"),
                ("tallyd_ready", "+1"),
                ("tallyd_sync_seconds_count", "+1"),
                ("tallyd_sync_seconds{le=0.000001}", "+1"),
            ],
        ],
    },
    Row {
        cause: "a full segment, when the next takes 5 ms to create",
        config: Config::new,
        arrange: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 4]), Verdict::Counted);
            let clock = server.clock.clone();
            let slow = |faults: &mut Faults| faults.slow(Op::Create, 5 * MILLISECOND_NS, &clock);
            server.disk.faults(slow);
        },
        act: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
            server
        },
        effect: &[
            &COUNTED,
            &[
                ("tallyd_oldest_record_age_seconds", "+0.005"),
                ("tallyd_rotate_seconds_count", "+1"),
                ("tallyd_rotate_seconds_sum", "+0.005"),
                ("tallyd_rotate_seconds{le=0.016384}", "+1"),
            ],
        ],
    },
    Row {
        cause: "a full segment, when the next cannot be created",
        config: Config::new,
        arrange: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 4]), Verdict::Counted);
            server.disk.faults(|faults| faults.once(Op::Create, 1, EIO));
        },
        act: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
            server
        },
        effect: &[&COUNTED, &[("tallyd_errors_total{kind=rotate}", "+1")]],
    },
    Row {
        cause: "a hit whose window cannot be read",
        config: Config::new,
        arrange: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 2]), Verdict::Counted);
            server.clock.advance(WINDOW_NS);
            server.disk.faults(|faults| {
                faults.sticky(Op::Read, 1, EIO);
                faults.sticky(Op::Open, 1, EIO);
            });
        },
        act: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Refused);
            server.disk.faults(Faults::heal);
            server
        },
        effect: &[&[
            (
                "readyz",
                "503 disk refusing: cannot read sim/0000000000000000.seg: record 2 at byte 80: input/output error",
            ),
            ("status.ready", "false"),
            (
                "status.reasons",
                "disk refusing: cannot read sim/0000000000000000.seg: record 2 at byte 80: input/output error",
            ),
            ("status.refused", "+1"),
            ("tallyd_batch_hits{le=1}", "+1"),
            ("tallyd_batch_hits_count", "+1"),
            ("tallyd_batch_hits_sum", "+1"),
            ("tallyd_errors_total{kind=read}", "+1"),
            ("tallyd_flush_seconds_count", "+1"),
            ("tallyd_flush_seconds{le=0.000001}", "+1"),
            ("tallyd_ready", "-1"),
            ("tallyd_refused_total{reason=disk}", "+1"),
            ("tallyd_turn_seconds_count", "+1"),
            ("tallyd_turn_seconds{le=0.000001}", "+1"),
        ]],
    },
    Row {
        cause: "stamps 5 ms and 2 ms behind the last one",
        config: Config::new,
        arrange: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
        },
        act: |server| {
            let now = server.clock.now();
            let late = [5, 2].map(|ms| now.before(ms * MILLISECOND_NS));
            assert_eq!(server.batch(&late), Verdict::Counted);
            server
        },
        effect: &[
            &COUNTED,
            &[
                ("status.corrected", "+2"),
                ("status.journal_bytes", "+16"),
                ("status.tally", "+2"),
                ("status.total", "+2"),
                ("tallyd_batch_hits_sum", "+2"),
                ("tallyd_batch_hits{le=1}", "+0"),
                ("tallyd_batch_hits{le=2}", "+1"),
                ("tallyd_corrected_hits_total", "+2"),
                ("tallyd_correction_seconds_max", "+0.005"),
                ("tallyd_correction_seconds_total", "+0.007"),
                ("tallyd_hits_total", "+2"),
                ("tallyd_journal_bytes", "+16"),
                ("tallyd_window_hits", "+2"),
            ],
        ],
    },
    Row {
        cause: "a second that passes",
        config: Config::new,
        arrange: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
        },
        act: |server| {
            server.advance(SECOND_NS);
            server
        },
        effect: &[&[
            ("status.at", "+1"),
            ("status.history_from", "+1"),
            ("status.uptime_seconds", "+1"),
            ("tallyd_oldest_record_age_seconds", "+1"),
            ("tallyd_time_seconds", "+1"),
            ("tallyd_uptime_seconds", "+1"),
        ]],
    },
    Row {
        cause: "the end of the window",
        config: Config::new,
        arrange: |server| {
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
        },
        act: |server| {
            server.advance(WINDOW_NS);
            server
        },
        effect: &[&[
            ("status.tally", "-1"),
            ("tallyd_oldest_record_age_seconds", "+10"),
            ("tallyd_window_hits", "-1"),
        ]],
    },
    Row {
        cause: "a sealed segment that is older than history is kept",
        config: Config::new,
        arrange: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 5]), Verdict::Counted);
            server.advance(2 * SECOND_NS);
            assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
        },
        act: |server| {
            server.advance(WINDOW_NS + LATE_NS_MAX);
            server.wait_for("the end of it", |status| status.segment_count == 1);
            server
        },
        effect: &[&[
            ("status.journal_bytes", "-104"),
            ("status.segments", "-1"),
            ("status.tally", "-6"),
            ("tallyd_journal_bytes", "-104"),
            ("tallyd_oldest_record_age_seconds", "+9"),
            ("tallyd_segments", "-1"),
            ("tallyd_window_hits", "-6"),
        ]],
    },
    Row {
        cause: "a start that cannot know whether hits are missing",
        config: Config::new,
        arrange: |_| {},
        act: |server| {
            let config = Config {
                doubt: Some("hits may be missing".to_owned()),
                ..Config::new()
            };
            server.restart(config, |_| {})
        },
        effect: &[&[
            ("status.doubts", "hits may be missing"),
            ("status.estimated", "true"),
            ("tallyd_estimated", "+1"),
        ]],
    },
    Row {
        cause: "a restart with two records, one of them damaged",
        config: Config::new,
        arrange: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 2]), Verdict::Counted);
        },
        act: |server| {
            server.restart(Config::new(), |disk| {
                disk.flip(&name::segment(0), 64, 1);
            })
        },
        effect: &[&[
            ("status.damaged", "+1"),
            ("status.estimated", "true"),
            ("status.recovered", "+2"),
            ("tallyd_batch_hits_count", "-1"),
            ("tallyd_batch_hits_sum", "-2"),
            ("tallyd_batch_hits{le=2}", "-1"),
            ("tallyd_damaged_records_total", "+1"),
            ("tallyd_estimated", "+1"),
            ("tallyd_flush_seconds_count", "-1"),
            ("tallyd_flush_seconds{le=0.000001}", "-1"),
            ("tallyd_recovered_records", "+2"),
            ("tallyd_turn_seconds_count", "-1"),
            ("tallyd_turn_seconds{le=0.000001}", "-1"),
        ]],
    },
    Row {
        cause: "a start with a segment file that cannot be read",
        config: Config::new,
        arrange: |server| {
            let now = server.clock.now();
            assert_eq!(server.batch(&[now; 6]), Verdict::Counted);
        },
        act: |server| {
            server.restart(Config::new(), |disk| {
                (16..64).for_each(|byte| disk.flip(&name::segment(0), byte, 1));
            })
        },
        effect: &[&[
            ("status.damaged", "+6"),
            ("status.estimated", "true"),
            ("status.history_from", "+10"),
            ("status.journal_bytes", "-112"),
            ("status.quarantined", "sim/0000000000000000.seg.aside"),
            ("status.segments", "-1"),
            ("status.tally", "-6"),
            ("tallyd_batch_hits_count", "-1"),
            ("tallyd_batch_hits_sum", "-6"),
            ("tallyd_batch_hits{le=8}", "-1"),
            ("tallyd_damaged_records_total", "+6"),
            ("tallyd_estimated", "+1"),
            ("tallyd_flush_seconds_count", "-1"),
            ("tallyd_flush_seconds{le=0.000001}", "-1"),
            ("tallyd_journal_bytes", "-112"),
            ("tallyd_oldest_record_age_seconds", "gone"),
            ("tallyd_rotate_seconds_count", "-1"),
            ("tallyd_rotate_seconds{le=0.000001}", "-1"),
            ("tallyd_segments", "-1"),
            ("tallyd_turn_seconds_count", "-1"),
            ("tallyd_turn_seconds{le=0.000001}", "-1"),
            ("tallyd_window_hits", "-6"),
        ]],
    },
    Row {
        cause: "seventeen retired files that cannot be removed",
        config: Config::new,
        arrange: |server| {
            assert_eq!(server.batch(&[server.clock.now(); 5]), Verdict::Counted);
        },
        act: |server| {
            pile_up(&server);
            server
        },
        effect: &[&[
            (
                "readyz",
                "503 files piling up: 17 files, at most 16 are allowed: cannot remove sim/0000000000000000.seg: operation not permitted",
            ),
            ("status.journal_bytes", "+104"),
            ("status.ready", "false"),
            (
                "status.reasons",
                "files piling up: 17 files, at most 16 are allowed: cannot remove sim/0000000000000000.seg: operation not permitted",
            ),
            ("status.segments", "+1"),
            ("status.total", "+95"),
            ("tallyd_batch_hits_count", "+19"),
            ("tallyd_batch_hits_sum", "+95"),
            ("tallyd_batch_hits{le=8}", "+19"),
            ("tallyd_flush_seconds_count", "+19"),
            ("tallyd_flush_seconds{le=0.000001}", "+19"),
            ("tallyd_hits_total", "+95"),
            ("tallyd_journal_bytes", "+104"),
            ("tallyd_oldest_record_age_seconds", "+11"),
            ("tallyd_ready", "-1"),
            ("tallyd_rotate_seconds_count", "+19"),
            ("tallyd_rotate_seconds{le=0.000001}", "+19"),
            ("tallyd_segments", "+1"),
            ("tallyd_turn_seconds_count", "+19"),
            ("tallyd_turn_seconds{le=0.000001}", "+19"),
            ("tallyd_unremovable_files", "+17"),
        ]],
    },
    Row {
        cause: "retired files that can be removed again",
        config: Config::new,
        arrange: |server| {
            assert_eq!(server.batch(&[server.clock.now(); 5]), Verdict::Counted);
            pile_up(server);
        },
        act: |server| {
            server.disk.faults(Faults::heal);
            server.wait_for("their end", |status| status.unremovable_count == 0);
            server
        },
        effect: &[&[
            ("readyz", "200 ready"),
            ("status.ready", "true"),
            ("status.reasons", ""),
            ("tallyd_ready", "+1"),
            ("tallyd_unremovable_files", "-17"),
        ]],
    },
    Row {
        cause: "another window, retention and sync policy",
        config: Config::new,
        arrange: |_| {},
        act: |server| {
            let mut config = Config::new();
            config.settings.window_ns = 2 * SECOND_NS + SECOND_NS / 2;
            config.settings.retain_ns = 3600 * SECOND_NS;
            config.sync = "250ms".to_owned();
            server.restart(config, |_| {})
        },
        effect: &[&[
            ("status.history_from", "-3590"),
            ("status.retain", "3600s"),
            ("status.retain_seconds", "+3590"),
            ("status.sync", "250ms"),
            ("status.window", "2500ms"),
            ("status.window_ns", "-7500000000"),
            ("status.window_seconds", "-7.5"),
            ("tallyd_window_seconds", "-7.5"),
        ]],
    },
];

/// Has 17 retired segments lie there, since the directory lets no file go.
fn pile_up(server: &Embedded) {
    server.disk.faults(Faults::names_stay);
    // The newest two are a window old, and not yet retired.
    for _ in 0..19 {
        server.advance(WINDOW_NS + LATE_NS_MAX);
        assert_eq!(server.batch(&[server.clock.now(); 5]), Verdict::Counted);
    }
}

/// Lets 20 ms pass again and again until something comes from the server.
fn advance_until_answered(server: &Embedded, client: &mut Client) {
    let answers = |client: &mut Client| client.has_within(Duration::from_millis(5));
    for tries in 0.. {
        assert!(tries < 6000, "no answer in two minutes");
        if answers(client).expect("a connection") {
            return;
        }
        server.clock.advance(20 * MILLISECOND_NS);
    }
}

/// Sends what must be rejected with `status`, and waits for the end of the connection.
fn rejected(server: Embedded, status: u16, request: &[u8]) -> Embedded {
    let mut client = Client::connect(server.address).expect("the pool listens");
    assert_eq!(client.ask(request).expect("an answer").status, status);
    drop(client);
    server.wait_for_connections(Side::Hits, 0);
    server
}

/// A hit that a sync has covered.
fn synced_once(server: &mut Embedded) {
    assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
    server.wait_for("a sync", |status| status.meters.sync_ns.count() == 1);
}

/// A hit whose sync fails with `errno`.
fn failed_sync(server: Embedded, errno: i32) -> Embedded {
    server
        .disk
        .faults(|faults| faults.once(Op::SyncFile, 1, errno));
    assert_eq!(server.batch(&[server.clock.now()]), Verdict::Counted);
    server.wait_for("a failure", |status| status.meters.sync_failures == 1);
    server
}

/// Samples and fields that no cause can change while a build runs, and their values.
const FIXED: [(&str, &str); 2] = [
    (
        concat!("tallyd_build_info{version=", env!("CARGO_PKG_VERSION"), "}"),
        "1",
    ),
    ("status.version", env!("CARGO_PKG_VERSION")),
];

/// What is a time: it changes by what has passed on the clock by hand, unless the row says otherwise.
const TIMES: [&str; 5] = [
    "status.at",
    "status.history_from",
    "status.uptime_seconds",
    "tallyd_time_seconds",
    "tallyd_uptime_seconds",
];

/// Looks at a server, always in the same way.
struct Observer {
    client: Client,
    count: u64,
}

impl Observer {
    fn of(server: &Embedded) -> Self {
        let client = Client::connect(server.operator).expect("the admin listener");
        Self { client, count: 0 }
    }

    /// The answer on `path`: its status and body.
    fn get(&mut self, path: &str) -> (u16, String) {
        self.count += 1;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = self.client.ask(request.as_bytes()).expect("an answer");
        (answer.status, answer.body)
    }

    fn look(&mut self) -> Shown {
        let (_, metrics) = self.get("/metrics");
        let asked = self.count;
        let mut shown = samples(&metrics);
        // What the observer itself has asked changes nothing.
        let own = shown
            .get_mut("tallyd_operator_requests_total")
            .expect("a counter");
        *own = (own.parse::<u64>().expect("a number") - asked).to_string();
        let ((_, lines), (_, json)) = (self.get("/status"), self.get("/status?format=json"));
        shown.extend(fields(&lines, &json));
        let (code, ready) = self.get("/readyz");
        shown.insert("readyz".to_owned(), format!("{code} {}", ready.trim_end()));
        shown
    }
}

/// Every sample but those of the process, by name and label; buckets with what is in each alone.
fn samples(page: &str) -> Shown {
    let mut shown = Shown::new();
    let mut below = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let name = name.replace('"', "");
        if name.starts_with("process_") {
            continue;
        }
        let (name, value) = match name.split_once("_bucket{le=") {
            None => (name, value.to_owned()),
            Some((histogram, bound)) => {
                let count: u64 = value.parse().expect("a count");
                let before = std::mem::replace(&mut below, count);
                if bound == "+Inf}" {
                    below = 0;
                }
                (
                    format!("{histogram}{{le={bound}"),
                    (count - before).to_string(),
                )
            }
        };
        assert!(shown.insert(name, value).is_none(), "{line} is there twice");
    }
    shown
}

/// Every field of `/status`, which text and JSON agree on.
fn fields(lines: &str, json: &str) -> Shown {
    let mut rest = json.strip_prefix('{').expect("an object");
    let mut shown = Shown::new();
    for line in lines.lines() {
        let (name, value) = line.split_once(' ').expect("a name and a value");
        let listed: Vec<String> = value
            .split("; ")
            .map(|text| format!("\"{text}\""))
            .collect();
        let list = if value.is_empty() {
            String::new()
        } else {
            listed.join(",")
        };
        let forms = [
            value.to_owned(),
            format!("\"{value}\""),
            format!("[{list}]"),
        ];
        let mut written = forms.iter().map(|form| format!("\"{name}\":{form}"));
        rest = written
            .find_map(|field| rest.strip_prefix(&field)?.strip_prefix([',', '}']))
            .unwrap_or_else(|| panic!("{line}, in JSON: {rest}"));
        shown.insert(format!("status.{name}"), value.to_owned());
    }
    assert_eq!(rest, "\n", "fields that are not among the lines");
    shown
}

/// A number, or an instant in seconds since 1970.
fn number(text: &str) -> Option<f64> {
    let instant = || parse_instant(text).ok().filter(|_| text.ends_with('Z'));
    text.parse().ok().or_else(|| Some(instant()? as f64 / 1e9))
}

/// A difference: `+1`, `-0.005`. Times on the wall clock are compared by the millisecond.
fn difference(name: &str, before: f64, after: f64) -> String {
    let digits = if TIMES.contains(&name) { 1e3 } else { 1e9 };
    let change = ((after - before) * digits).round() / digits;
    format!("{change:+}")
}

fn changes(before: &Shown, after: &Shown) -> Changes {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Changes::new();
    for name in names {
        let change = match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => match (number(before), number(after)) {
                (Some(before), Some(after)) => difference(name, before, after),
                _ if before == after => continue,
                _ => after.clone(),
            },
            (_, Some(after)) => after.clone(),
            (_, None) => "gone".to_owned(),
        };
        if change != "+0" && change != "-0" {
            changes.insert(name.clone(), change);
        }
    }
    changes
}

/// Brings one row about; what changed, and all that was shown.
fn run(row: &Row) -> (Changes, Shown) {
    let mut server = Embedded::start((row.config)());
    (row.arrange)(&mut server);
    let (began, address) = (server.clock.now(), server.operator);
    let mut observer = Observer::of(&server);
    let before = observer.look();
    let began_again = server.clock.now();
    assert_eq!(began, began_again, "{}: looking takes no time", row.cause);
    let server = (row.act)(server);
    if server.operator != address {
        observer = Observer::of(&server);
    }
    let after = observer.look();
    let passed = server.clock.now().since(began) as f64 / SECOND_NS as f64;
    let mut expected = Changes::new();
    if passed > 0.0 {
        let times = TIMES
            .iter()
            .map(|&name| (name.to_owned(), format!("{passed:+}")));
        expected.extend(times);
    }
    for (name, change) in row.effect.iter().copied().flatten() {
        expected.insert((*name).to_owned(), (*change).to_owned());
    }
    expected.retain(|_, change| change != "+0");
    let found = changes(&before, &after);
    assert_eq!(
        found, expected,
        "{}: left: what changed; right: what the row says",
        row.cause
    );
    (found, after)
}

#[test]
fn every_sample_and_every_field_changes_by_its_cause_and_by_nothing_else() {
    let (mut shown, mut changed) = (Shown::new(), BTreeSet::new());
    for row in ROWS {
        let (changes, after) = run(row);
        changed.extend(changes.into_keys());
        shown.extend(after);
    }
    for (name, value) in FIXED {
        assert_eq!(shown.remove(name).as_deref(), Some(value), "{name}");
    }
    // The bounds of all histograms are those of their scale.
    shown.retain(|name, _| !name.contains("{le="));
    let unmoved: Vec<&String> = shown
        .keys()
        .filter(|name| !changed.contains(*name))
        .collect();
    assert!(
        unmoved.is_empty(),
        "no row of this table changes {unmoved:?}"
    );
}
