//! The steps of a simulated life, how chance draws them, and how a step is made simpler.
//!
//! Owns the weather of a seed: which faults and deaths it knows, how long its window is and how many
//! records fit into its segments. Everything in a step is relative to the instant it is taken at, so
//! that any step can be taken out and the rest still means something.
//!
//! Must not know what a step does. Invariant: equal seeds draw equal steps.

use crate::support::fault::{EINTR, EIO, EMFILE, ENOSPC, Op};
use crate::support::rig;
use crate::support::seed::Chance;
use std::fmt;
use tallyd::funnel::{LATE_NS_MAX, Settings};
use tallyd::hit::STEPS_MAX;
use tallyd::journal::SyncPolicy;
use tallyd::stamp::{MILLISECOND_NS, SECOND_NS};

const YEAR_NS: u64 = 365 * 86_400 * SECOND_NS;

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// A worker sends hits so many ns before now; before `early`, after it.
    Send { lateness_ns: Spans, early: bool },
    /// Somebody asks for the hits of a window that ended so long ago.
    Count { window_ns: u64, ago_ns: u64 },
    /// Somebody asks for the hits of an interval.
    Between { from_ago_ns: u64, to_ago_ns: u64 },
    /// Somebody asks for steps of a history, of all hits before a position.
    Steps {
        from_ago_ns: u64,
        step_ns: u64,
        count: usize,
        end: u64,
    },
    /// Somebody asks how things stand.
    Status,
    /// The funnel takes one turn, if a message waits.
    Turn,
    /// The funnel takes turns until no message waits.
    Turns,
    /// The funnel is woken without a message.
    Tick,
    /// Time passes on both clocks.
    Pass { span_ns: u64 },
    /// Time passes until the funnel wants to be woken, and it is.
    UntilDue,
    /// The wall clock is stepped.
    Wall { step_ns: i64 },
    /// The sync thread runs the job it was given.
    RunJob,
    /// The outcome of the job reaches the funnel.
    Deliver,
    /// A job is run and its outcome is taken up, as long as there is one.
    Sync,
    /// A call of the kernel fails.
    Fail {
        op: Op,
        nth: u64,
        times: u64,
        errno: i32,
    },
    /// The disk has so many bytes left.
    Room { bytes: usize },
    /// Reads and writes are short.
    Short { seed: u64 },
    /// Nothing fails any more.
    Heal,
    /// The next start meets a fault.
    SickStart { op: Op, nth: u64, errno: i32 },
    /// Before the next start up to three bits of a record flip.
    Rot { seed: u64 },
    /// The next start has other settings.
    Settings(Settings),
    /// The process ends at the call after so many calls; the one after it may end while it starts.
    Die {
        calls: u64,
        again: Option<u64>,
        how: How,
    },
    /// The process ends as it should.
    Stop { how: How },
}

/// Spans of time, short to print when they are all the same.
#[derive(Clone)]
pub struct Spans(pub Vec<u64>);

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [first, rest @ ..] if rest.iter().all(|ns| ns == first) => {
                write!(f, "[{first}; {}]", self.0.len())
            }
            all => write!(f, "{all:?}"),
        }
    }
}

/// What comes after a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// Another one in the same boot.
    Kill,
    /// Another one in the same boot, under another id or none, and the wall clock was stepped meanwhile.
    Renamed { is_unknown: bool, wall_step_ns: i64 },
    /// Another one in a snapshot of the machine, but for its disk: boot time has gone back.
    Restored { back_ns: u64, wall_step_ns: i64 },
    /// The power went; chance decides what of the unsynced is there.
    Cut {
        seed: u64,
        gap_ns: i64,
        uptime_ns: u64,
    },
    /// The system was started again, in good order.
    Reboot { gap_ns: i64, uptime_ns: u64 },
}

/// What a seed is made of.
pub struct Weather {
    pub settings: Settings,
    pub steps: Vec<Step>,
}

/// Draws settings and steps.
pub fn weather(seed: u64) -> Weather {
    let mut chance = Chance::new(seed);
    let settings = settings(&mut chance);
    let faulty = chance.once(2);
    let deadly = chance.upto(3) > 0;
    let count = 20 + chance.span(200);
    let mut steps = Vec::new();
    if chance.upto(3) > 0 {
        // A wall clock that shows a day after the first release was set.
        let step_ns = (YEAR_NS as i64) / 2;
        steps.push(Step::Wall { step_ns });
    }
    for _ in 0..count {
        if faulty && deadly && chance.once(100) {
            failed_sync(&mut chance, settings.window_ns, &mut steps);
        }
        let step = match chance.upto(99) {
            0..=11 if faulty => fault(&mut chance),
            12..=15 if deadly => end(&mut chance, settings.window_ns),
            _ => work(&mut chance, settings.window_ns),
        };
        steps.push(step);
    }
    Weather { settings, steps }
}

fn settings(chance: &mut Chance) -> Settings {
    let window_ns = chance.pick(&[
        MILLISECOND_NS,
        MILLISECOND_NS + 1,
        37 * MILLISECOND_NS,
        SECOND_NS,
        3 * SECOND_NS,
    ]);
    let policy = chance.pick(&[
        SyncPolicy::Always,
        SyncPolicy::Always,
        SyncPolicy::Every { period_ns: 1000 },
        SyncPolicy::Every {
            period_ns: window_ns / 2,
        },
        SyncPolicy::Never,
    ]);
    let retain_ns = window_ns + chance.pick(&[0, 0, 1]) * chance.span(2 * window_ns);
    let records = chance.pick(&[1, 4, 50, 64, 700]);
    let mut settings = rig::settings(policy, records, retain_ns);
    settings.window_ns = window_ns;
    settings.limits.seal_age_ns = chance.pick(&[1000, window_ns]);
    settings.limits.seal_bytes_min = 64 + 8 * chance.span(records);
    settings
}

/// What a working server meets.
fn work(chance: &mut Chance, window_ns: u64) -> Step {
    let reach_ns = 3 * window_ns + 2 * LATE_NS_MAX;
    match chance.upto(99) {
        0..=24 => send(chance),
        25..=36 => Step::Turns,
        37..=40 => Step::Turn,
        41..=44 => Step::Tick,
        45..=56 => Step::Pass {
            span_ns: match chance.upto(9) {
                0 => chance.span(reach_ns),
                1 => window_ns,
                2 => window_ns + LATE_NS_MAX,
                _ => chance.span(window_ns / 3),
            },
        },
        57..=61 => Step::UntilDue,
        62..=63 => Step::Wall {
            step_ns: {
                let most_ns = chance.pick(&[1, 99 * MILLISECOND_NS, 86_400 * SECOND_NS, YEAR_NS]);
                signed(chance, most_ns)
            },
        },
        64..=70 => Step::Count {
            window_ns: chance.pick(&[window_ns, chance.clone().span(reach_ns)]),
            ago_ns: chance.pick(&[0, chance.clone().span(reach_ns)]),
        },
        71..=73 => Step::Steps {
            from_ago_ns: chance.span(reach_ns),
            step_ns: 1 + chance.span(window_ns / 4),
            count: 1 + chance.span(STEPS_MAX as u64 - 1) as usize,
            end: chance.pick(&[u64::MAX, chance.clone().span(1000)]),
        },
        74..=77 => Step::Between {
            from_ago_ns: chance.span(reach_ns),
            to_ago_ns: chance.span(reach_ns),
        },
        78..=81 => Step::Status,
        82..=87 => Step::RunJob,
        88..=93 => Step::Deliver,
        _ => Step::Sync,
    }
}

fn send(chance: &mut Chance) -> Step {
    let most_ns = chance.pick(&[0, 0, 1000, 2 * MILLISECOND_NS, 2 * LATE_NS_MAX]);
    let size = 1 + match chance.upto(49) {
        0 => chance.span(4095),
        1..=6 => chance.span(300),
        _ => chance.span(12),
    };
    Step::Send {
        lateness_ns: Spans((0..size).map(|_| chance.span(most_ns)).collect()),
        early: chance.once(20),
    }
}

fn signed(chance: &mut Chance, most_ns: u64) -> i64 {
    let span_ns = chance.span(most_ns) as i64;
    chance.pick(&[span_ns, -span_ns])
}

const CHANGING: [Op; 9] = [
    Op::Write,
    Op::SyncFile,
    Op::Write,
    Op::SetLen,
    Op::SyncFile,
    Op::SyncNames,
    Op::Create,
    Op::Rename,
    Op::Remove,
];

/// What a sick disk does.
fn fault(chance: &mut Chance) -> Step {
    match chance.upto(9) {
        0 => Step::Room {
            bytes: chance.span(2000) as usize,
        },
        1 => Step::Short {
            seed: chance.next(),
        },
        2 | 3 => Step::Heal,
        4 => Step::Fail {
            op: chance.pick(&[Op::Read, Op::Write]),
            nth: 1 + chance.span(6),
            times: 1 + chance.span(40),
            errno: EINTR,
        },
        5 => Step::Fail {
            op: chance.pick(&[Op::Read, Op::Open]),
            nth: 1 + chance.span(6),
            times: 1 + chance.span(3),
            errno: chance.pick(&[EIO, EMFILE]),
        },
        _ => Step::Fail {
            op: chance.pick(&CHANGING),
            nth: 1 + chance.span(3),
            times: 1 + chance.pick(&[0, 0, 1]) * chance.span(8),
            errno: chance.pick(&[EIO, ENOSPC]),
        },
    }
}

/// A sync fails, and hits go on: what is synced afterwards must not rest on what was lost.
fn failed_sync(chance: &mut Chance, window_ns: u64, steps: &mut Vec<Step>) {
    let end = Step::Die {
        calls: 0,
        again: None,
        how: how(chance, window_ns),
    };
    let failure = Step::Fail {
        op: chance.pick(&[Op::SyncFile, Op::SyncNames]),
        nth: 1,
        times: 1,
        errno: EIO,
    };
    let syncing = || [Step::Turns, Step::UntilDue, Step::RunJob, Step::Deliver];
    steps.extend([send(chance), failure]);
    steps.extend(syncing());
    steps.extend([Step::Turns, send(chance)]);
    steps.extend(syncing());
    if chance.once(2) {
        steps.push(end);
    }
}

/// How a process comes to its end, and what the next one meets.
fn end(chance: &mut Chance, window_ns: u64) -> Step {
    match chance.upto(19) {
        0..=14 => Step::Die {
            calls: chance.span(30),
            again: chance.once(4).then(|| chance.span(20)),
            how: how(chance, window_ns),
        },
        15 => Step::Stop {
            how: how(chance, window_ns),
        },
        16 => Step::SickStart {
            op: chance.pick(&[
                Op::List,
                Op::Open,
                Op::Read,
                Op::SetLen,
                Op::Rename,
                Op::Remove,
            ]),
            nth: 1 + chance.span(8),
            errno: chance.pick(&[EIO, EMFILE]),
        },
        17 => Step::Settings(settings(chance)),
        18 => Step::Rot {
            seed: chance.next(),
        },
        _ => Step::Stop { how: How::Kill },
    }
}

fn how(chance: &mut Chance, window_ns: u64) -> How {
    let reach_ns = 3 * window_ns + 2 * LATE_NS_MAX;
    let span_ns = chance.span(reach_ns) as i64;
    let years_ns = signed(chance, 40 * YEAR_NS);
    let gap_ns = chance.pick(&[0, span_ns, span_ns, years_ns]);
    let uptime_ns = 1 + chance.span(reach_ns);
    match chance.upto(9) {
        0..=2 => How::Kill,
        3 => match chance.upto(3) {
            0 => How::Restored {
                back_ns: chance.span(reach_ns),
                wall_step_ns: chance.pick(&[0, -gap_ns, years_ns]),
            },
            _ => How::Renamed {
                is_unknown: chance.once(4),
                wall_step_ns: chance.pick(&[0, gap_ns, -gap_ns]),
            },
        },
        4 => How::Reboot { gap_ns, uptime_ns },
        _ => How::Cut {
            seed: chance.next(),
            gap_ns,
            uptime_ns,
        },
    }
}

impl Step {
    /// Simpler steps that might fail in the same way, the simplest first.
    pub fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Send { lateness_ns, early } => {
                let Spans(lateness_ns) = lateness_ns;
                let half = lateness_ns.len() / 2;
                let send = |lateness_ns: &[u64], early| Self::Send {
                    lateness_ns: Spans(lateness_ns.to_vec()),
                    early,
                };
                let mut all = Vec::new();
                if half > 0 {
                    all.push(send(&lateness_ns[..1], *early));
                    all.push(send(&lateness_ns[..half], *early));
                    all.push(send(&lateness_ns[half..], *early));
                }
                if lateness_ns.iter().any(|&ns| ns > 0) {
                    all.push(send(&vec![0; lateness_ns.len()], *early));
                }
                if *early {
                    all.push(send(lateness_ns, false));
                }
                all
            }
            Self::Pass { span_ns } => fewer(*span_ns, |span_ns| Self::Pass { span_ns }),
            Self::Turn => vec![Self::Turns],
            Self::Die { calls, again, how } => {
                let mut all = fewer(*calls, |calls| Self::Die {
                    calls,
                    again: *again,
                    how: *how,
                });
                if again.is_some() {
                    all.push(Self::Die {
                        calls: *calls,
                        again: None,
                        how: *how,
                    });
                }
                for how in how.simpler() {
                    let (calls, again) = (*calls, *again);
                    all.push(Self::Die { calls, again, how });
                }
                all
            }
            Self::Stop { how } => {
                let simpler = how.simpler().into_iter();
                simpler.map(|how| Self::Stop { how }).collect()
            }
            Self::Fail {
                op,
                nth,
                times,
                errno,
            } if *times > 1 => vec![Self::Fail {
                op: *op,
                nth: *nth,
                times: 1,
                errno: *errno,
            }],
            _ => Vec::new(),
        }
    }
}

impl How {
    fn simpler(self) -> Vec<Self> {
        match self {
            Self::Kill => Vec::new(),
            Self::Renamed { .. } | Self::Restored { .. } | Self::Reboot { .. } => vec![Self::Kill],
            Self::Cut { gap_ns: 0, .. } => vec![Self::Kill],
            Self::Cut {
                seed, uptime_ns, ..
            } => vec![
                Self::Kill,
                Self::Cut {
                    seed,
                    gap_ns: 0,
                    uptime_ns,
                },
            ],
        }
    }
}

/// Zero, a half, one less.
fn fewer(number: u64, step: impl Fn(u64) -> Step) -> Vec<Step> {
    let mut numbers = vec![0, number / 2, number.saturating_sub(1)];
    numbers.retain(|&fewer| fewer < number);
    numbers.dedup();
    numbers.into_iter().map(step).collect()
}
