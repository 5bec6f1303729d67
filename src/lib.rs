//! `tallyd` answers every HTTP request with the exact number of requests it has received in the
//! previous 60 seconds, and keeps that number right across restarts, kills and power cuts.
//!
//! ```text
//!   clients ──► front ──Batch──► funnel ──► journal ──► segments on disk
//!                 ▲      (f)       │  ▲        ▲ (h2)
//!                 └───tallies──────┘  └─window─┘ (g, h1)
//! ```
//!
//! * **f** can only append: a [`front`] stamps each request and sends the hits of one pass as one
//!   [`hit::Batch`] over a bounded channel; the same buffer comes back with the tallies in it.
//! * **g** keeps old data outside: the [`window`] is a cursor over the journal that only moves forward.
//!   The file is the queue, so memory does not grow with the rate or the window.
//! * **h1** reads the queue and **h2** writes it: the [`journal`], one write a turn, recycled files.
//! * The [`funnel`] is the only loop: one thread owns the last stamp, the window and the journal.
//!   The line that counts is in [`window::Window::tally`].
//!
//! # Invariants, and the tests that hold them
//!
//! | invariant | held by |
//! |---|---|
//! | The answer to a hit stamped t is the number of hits admitted up to it in (t - window, t]. | `tests/window.rs`, `tests/model.rs`, `tests/counting.rs`, `tests/judge.rs` |
//! | A hit is answered only after its record was handed to the operating system. | `tests/restart.rs`, `tests/faults.rs`, `tests/crash_states.rs`, `scripts/kill` |
//! | Under `--sync always` a hit is answered only after a sync covers it. | `tests/power.rs`, `tests/crash_states.rs`, `scripts/power` |
//! | A hit's stamp lies between the arrival of its bytes and the return of the read that completed its head. | `src/front/pool/arrival.rs`, `tests/arrival.rs`, `benches/wire.rs` |
//! | A turn is counted whole or refused whole; what was refused is never counted. | `tests/faults.rs`, `tests/simulator.rs`, `scripts/faults` |
//! | Position is the count: damage changes no tally by more than a neighbour's time, and is reported. | `tests/recovery.rs`, `tests/crash_states.rs` |
//! | A start places what earlier ones left exactly or says that it is estimated, and so does a tool. | `src/journal/boots/tests.rs`, `tests/boots.rs`, `scripts/clocks` |
//! | A directory or active file that is moved, removed, replaced or truncated gets no hit, and what replaces it is left alone. | `tests/directory.rs` |
//! | A data directory holds nothing but a journal, and no file in it is opened through a link. | `tests/directory.rs` |
//! | The bytes on disk are those of format version 1. | `src/journal/record.rs`, `tests/golden.rs`, `scripts/golden` |
//! | What an older version has written is read; what a later one has written is refused and left alone. | `tests/versions.rs` |
//! | No bytes of a client stop, block or inflate the count for others. | `tests/hostile.rs`, `tests/bodies.rs`, `tests/backlog.rs`, `tests/limits.rs`, `tests/admission.rs`, `tests/differential.rs`, `fuzz` |
//! | Nothing an operator asks counts, and what he is told is exact or an error. | `tests/operator.rs`, `tests/metrics.rs`, `scripts/page` |
//! | A time when no server ran, or hits were refused, is told from a time without hits. | `src/lives`, `tests/lives.rs` |
//! | Whoever looks into a journal beside its server gets exact numbers and changes nothing. | `tests/inspect.rs` |
//! | One process follows another on a socket that is handed over, and what arrived is answered. | `tests/supervise.rs`, `tests/stopping.rs`, `scripts/activation` |
//! | Memory and threads are bounded. | `benches/engine`, `scripts/bench`, `scripts/soak` |
//! | A thread that cannot go on ends the process, and loses nothing that was answered. | `tests/alarm.rs` |
//! | In no order of threads is a wake-up lost, an answer given before its turn, or anybody left waiting. | `tests/races.rs` |
//! | No lock, no `static mut`, no unsafe code; the arrows below. | `tests/house.rs` |
//!
//! # The rooms and the arrows between them
//!
//! A file may use just the rooms that stand beside it; a folder counts as one room, and inside of
//! `journal` the files have rows of their own.
//!
//! | room | may use |
//! |---|---|
//! | main | error, inspect, options, report, serve |
//! | options | error, front, journal, notation, stamp |
//! | serve | alarm, clock, error, front, funnel, hit, journal, lives, notation, operator, options, report, signals, stamp, supervise |
//! | supervise | error, notation |
//! | signals | error |
//! | inspect | clock, error, fields, journal, lives, notation, options, stamp, window |
//! | report | clock, error, notation |
//! | front | alarm, clock, error, hit, notation, stamp |
//! | operator | clock, fields, front, hit, lives, meter, notation, stamp |
//! | alarm | error |
//! | hit | handoff, meter, stamp |
//! | lives | error, notation, stamp |
//! | handoff | |
//! | funnel | clock, error, hit, journal, notation, stamp, window |
//! | window | error, journal, stamp |
//! | clock | error, stamp |
//! | notation | stamp |
//! | meter | |
//! | fields | notation |
//! | stamp | |
//! | error | notation |
//! | journal | error, stamp |
//! | journal/mod | boots, correct, disk, look, name, read, record, recover, rotate, search, segment, survey, sync, view |
//! | journal/look | disk, name, record, segment |
//! | journal/read | disk, name, search, segment |
//! | journal/search | disk, segment |
//! | journal/rotate | disk, name, segment |
//! | journal/sync | disk, name, segment |
//! | journal/recover | boots, disk, name, record, segment, survey |
//! | journal/survey | disk, name, record, segment |
//! | journal/view | disk, record, recover, search, segment, survey |
//! | journal/correct | disk, record, segment, survey |
//! | journal/boots | record |
//! | journal/segment | disk, name, record |
//! | journal/record | |
//! | journal/disk | name |
//! | journal/disk/files | name |
//! | journal/disk/scratch | name |
//! | journal/name | |

#![forbid(unsafe_code)]

pub mod options;
pub mod serve;
pub mod signals;
pub mod supervise;

pub mod inspect;

pub mod alarm;
pub mod report;

pub mod front;
pub mod handoff;
pub mod hit;
pub mod operator;

pub mod funnel;
pub mod window;

pub mod journal;
pub mod lives;

pub mod meter;

mod fields;

pub mod clock;
pub mod error;
pub mod notation;
pub mod stamp;
