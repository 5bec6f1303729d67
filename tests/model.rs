//! The engine against a plain list, by chance: hits, questions, time, rotations, retirements,
//! restarts, kills, reboots and stepped wall clocks, in any order.
//!
//! Owns the operations, the model's rule for what an earlier boot becomes after a reboot, and the
//! shrinking of a failure: operations are taken out as long as it still fails, then seed and rest are
//! printed. `TALLYD_TEST_SEED=…` runs one seed alone.
//!
//! Must not know of turns or cursors; of the files it reads headers alone, to learn where segments
//! begin. Invariant tested: every tally, total and answer is the model's, or the question reaches
//! further back than what is kept and is answered by an error.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use support::boots::{Reading, lines, restored_to};
use support::disk::SimDisk;
use support::ledger::Ledger;
use support::rig::{Rig, clock_at, settings};
use support::seed::{Chance, for_seeds};
use tallyd::clock::{Clock, HandClock};
use tallyd::funnel::{LATE_NS_MAX, Settings};
use tallyd::hit::{Answer, Ask, STEPS_MAX, Verdict};
use tallyd::journal::record::{HEADER_BYTES, Header};
use tallyd::journal::{SyncPolicy, name};
use tallyd::stamp::{BootId, MILLISECOND_NS, SECOND_NS, Stamp};

const YEAR_NS: u64 = 365 * 86_400 * SECOND_NS;

/// One step of a life. Everything in it is relative, so that any step can be taken out.
#[derive(Clone, Debug)]
enum Step {
    /// Hits so many ns before now; before `early`, after it.
    Hits {
        lateness_ns: Vec<u64>,
        early: bool,
    },
    Pass {
        span_ns: u64,
    },
    Tick,
    Wall {
        step_ns: i64,
    },
    Count {
        window_ns: u64,
        ago_ns: u64,
    },
    Between {
        from_ago_ns: u64,
        to_ago_ns: u64,
    },
    /// As many steps from so long ago, of all hits but the newest `unseen`.
    Steps {
        from_ago_ns: u64,
        step_ns: u64,
        count: usize,
        unseen: u64,
    },
    Status,
    Sync,
    Stop,
    Kill,
    Reboot {
        gap_ns: i64,
        uptime_ns: u64,
    },
    /// Killed, and started again in the same boot under another id, or under none.
    Renamed {
        is_unknown: bool,
        wall_step_ns: i64,
    },
    /// Killed, and a snapshot of the machine is restored.
    Restored {
        back_ns: u64,
        wall_step_ns: i64,
    },
}

fn steps(chance: &mut Chance, window_ns: u64, count: usize) -> Vec<Step> {
    let reach_ns = 3 * window_ns + 2 * LATE_NS_MAX;
    let step = |chance: &mut Chance| match chance.upto(99) {
        0..=39 => {
            let most_ns = chance.pick(&[0, 0, 0, 1000, 2 * MILLISECOND_NS, 2 * LATE_NS_MAX]);
            let size = 1 + chance.span(99);
            Step::Hits {
                lateness_ns: (0..size).map(|_| chance.span(most_ns)).collect(),
                early: chance.once(20),
            }
        }
        40..=64 => Step::Pass {
            span_ns: match chance.upto(9) {
                0 => chance.span(reach_ns),
                1 => window_ns,
                _ => chance.span(window_ns / 3),
            },
        },
        65..=69 => Step::Tick,
        70..=71 => {
            let most_ns = chance.pick(&[1, 200 * MILLISECOND_NS, 60 * YEAR_NS]);
            let span_ns = chance.span(most_ns) as i64;
            Step::Wall {
                step_ns: chance.pick(&[span_ns, -span_ns]),
            }
        }
        72..=79 => Step::Count {
            window_ns: chance.pick(&[window_ns, chance.clone().span(reach_ns)]),
            ago_ns: chance.pick(&[0, chance.clone().span(reach_ns)]),
        },
        80..=83 => Step::Steps {
            from_ago_ns: chance.span(reach_ns),
            step_ns: 1 + chance.span(window_ns / 4),
            count: 1 + chance.span(STEPS_MAX as u64) as usize,
            unseen: chance.pick(&[0, chance.clone().span(20)]),
        },
        84..=87 => Step::Between {
            from_ago_ns: chance.span(reach_ns),
            to_ago_ns: chance.span(reach_ns),
        },
        88..=92 => Step::Status,
        93..=95 => Step::Sync,
        96 => Step::Stop,
        97 => Step::Kill,
        98 => {
            let most_ns = chance.pick(&[0, SECOND_NS, 2 * reach_ns, 60 * YEAR_NS]);
            let span_ns = chance.span(most_ns) as i64;
            let wall_step_ns = chance.pick(&[span_ns, -span_ns]);
            match chance.upto(3) {
                0 => Step::Restored {
                    back_ns: chance.span(reach_ns),
                    wall_step_ns,
                },
                _ => Step::Renamed {
                    is_unknown: chance.once(4),
                    wall_step_ns,
                },
            }
        }
        _ => {
            let span_ns = chance.span(60 * YEAR_NS) as i64;
            Step::Reboot {
                gap_ns: chance.pick(&[0, -span_ns, span_ns, (span_ns as u64 % reach_ns) as i64]),
                uptime_ns: 1 + chance.span(reach_ns),
            }
        }
    };
    (0..count).map(|_| step(chance)).collect()
}

/// The engine and the model beside it.
struct World {
    rig: Option<Rig>,
    clock: HandClock,
    boot: BootId,
    /// Boot ids so far.
    starts: u32,
    settings: Settings,
    /// Every hit ever counted, on the line of its boot.
    recorded: Vec<Stamp>,
    /// Hits from `first` on, on today's line.
    ledger: Ledger,
    first: usize,
    /// Questions that reach back behind this may be answered by an error, and no others.
    kept_from: Stamp,
    /// What the last start placed by the wall clock is at or before this.
    doubtful_until: Stamp,
}

impl World {
    fn new(settings: Settings) -> Self {
        let clock = clock_at(SECOND_NS as i64);
        // A wall clock that was set, until a step takes that away.
        clock.step_wall_to(1_800_000_000 * SECOND_NS as i64);
        let rig = Rig::open(&SimDisk::default(), &clock, settings);
        Self {
            rig: Some(rig),
            clock,
            boot: support::rig::BOOT,
            starts: 0,
            settings,
            recorded: Vec::new(),
            ledger: Ledger::new(settings.window_ns),
            first: 0,
            kept_from: Stamp::MIN,
            doubtful_until: Stamp::MIN,
        }
    }

    fn rig(&mut self) -> &mut Rig {
        self.rig.as_mut().expect("it is open between steps")
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        let now = self.clock.now();
        match step {
            Step::Hits { lateness_ns, early } => return self.hit(lateness_ns, *early),
            Step::Pass { span_ns } => self.clock.advance(*span_ns),
            Step::Tick => self.tick(),
            Step::Wall { step_ns } => {
                let wall_ns = self.clock.wall_ns().saturating_add(*step_ns);
                self.clock.step_wall_to(wall_ns);
            }
            Step::Count { window_ns, ago_ns } => {
                let at = now.before(*ago_ns);
                let ask = Ask::Count {
                    window_ns: *window_ns,
                    at: (*ago_ns > 0).then_some(at),
                };
                return self.ask(ask, at.before(*window_ns), at);
            }
            Step::Between {
                from_ago_ns,
                to_ago_ns,
            } => {
                let (from, to) = (now.before(*from_ago_ns), now.before(*to_ago_ns));
                return self.ask(Ask::Between { from, to }, from, to);
            }
            Step::Steps {
                from_ago_ns,
                step_ns,
                count,
                unseen,
            } => {
                let end = (self.recorded.len() as u64).saturating_sub(*unseen);
                return self.ask_steps(now.before(*from_ago_ns), *step_ns, *count, end);
            }
            Step::Status => return self.status(),
            Step::Sync => {
                self.rig().run_jobs();
            }
            Step::Stop => {
                let (outcome, disk) = self.rig.take().expect("an open one").stop();
                outcome.map_err(|error| error.to_string())?;
                return self.open(disk);
            }
            Step::Kill => {
                let disk = self.rig.take().expect("an open one").kill();
                return self.open(disk);
            }
            Step::Reboot { gap_ns, uptime_ns } => {
                let disk = self.rig.take().expect("an open one").kill();
                let wall_ns = self.clock.wall_ns().saturating_add(*gap_ns);
                self.clock = HandClock::new(Stamp::from_ns(*uptime_ns as i64), wall_ns);
                self.rename();
                return self.open(disk);
            }
            Step::Renamed {
                is_unknown,
                wall_step_ns,
            } => {
                let disk = self.rig.take().expect("an open one").kill();
                let wall_ns = self.clock.wall_ns().saturating_add(*wall_step_ns);
                self.clock.step_wall_to(wall_ns);
                self.rename();
                if *is_unknown {
                    self.boot = BootId::unknown(i64::from(self.starts));
                }
                return self.open(disk);
            }
            Step::Restored {
                back_ns,
                wall_step_ns,
            } => {
                let disk = self.rig.take().expect("an open one").kill();
                let wall_ns = self.clock.wall_ns().saturating_add(*wall_step_ns);
                let back = now.before(*back_ns).max(Stamp::from_ns(1));
                let back = restored_to(&disk, back);
                self.clock = HandClock::new(back, wall_ns);
                self.open(disk)?;
                // A single record later than the first of the next segment would be taken for a damaged one.
                self.clock.advance(now.since(back));
            }
        }
        Ok(())
    }

    /// Another boot id.
    fn rename(&mut self) {
        self.starts += 1;
        self.boot = BootId([0x40; 16]);
        self.boot.0[..4].copy_from_slice(&self.starts.to_be_bytes());
    }

    /// Every turn ends with a tick, and a tick may retire.
    fn ticked(&mut self) {
        let kept = self.clock.now().before(self.settings.retain_ns);
        self.kept_from = self.kept_from.max(kept);
    }

    fn tick(&mut self) {
        self.rig().tick();
        self.ticked();
    }

    fn hit(&mut self, lateness_ns: &[u64], early: bool) -> Result<(), String> {
        let now = self.clock.now();
        let stamps: Vec<_> = lateness_ns
            .iter()
            .map(|&ns| if early { now.after(ns) } else { now.before(ns) })
            .collect();
        let answered = self.rig().hit(&stamps);
        let window_ns = self.settings.window_ns;
        let is_estimated = answered.hits.first().is_some_and(|hit| {
            let complete_after = self.rig().status().complete_after;
            hit.stamp.before(window_ns) < self.doubtful_until.max(complete_after)
        });
        let verdict = match is_estimated {
            true => Verdict::Estimated,
            false => Verdict::Counted,
        };
        if answered.verdict != verdict {
            return Err(format!("{:?} on a sound disk", answered.verdict));
        }
        let last = self.ledger.stamps.last().copied().unwrap_or(Stamp::MIN);
        let mut least = last.max(now.before(LATE_NS_MAX)).max(Stamp::from_ns(1));
        for (stamp, hit) in stamps.iter().zip(&answered.hits) {
            let expected = least.max(*stamp.min(&now.max(last)));
            if hit.stamp != expected {
                return Err(format!("{stamp} became {}, not {expected}", hit.stamp));
            }
            least = expected;
            self.recorded.push(hit.stamp);
        }
        self.ledger.enter(&answered)?;
        self.ticked();
        Ok(())
    }

    fn ask(&mut self, ask: Ask, from: Stamp, to: Stamp) -> Result<(), String> {
        let (answer, estimated) = self.rig().ask(ask).split();
        self.ticked();
        let expected = self.ledger.between(from, to);
        if estimated != (from < to && from < self.doubtful_until)
            && !matches!(answer, Answer::Failed(_) | Answer::NotKept { .. })
        {
            return Err(format!("estimated: {estimated} in ({from}, {to}]"));
        }
        let is_right = match &answer {
            Answer::Count(count) => *count == expected,
            Answer::NotKept { .. } => from < self.kept_from,
            Answer::Steps(_) | Answer::Status(_) | Answer::Failed(_) | Answer::Estimated(_) => {
                false
            }
        };
        if is_right {
            return Ok(());
        }
        Err(format!("{answer:?} in ({from}, {to}], not {expected}"))
    }

    fn ask_steps(
        &mut self,
        from: Stamp,
        step_ns: u64,
        count: usize,
        end: u64,
    ) -> Result<(), String> {
        let answer = self.rig().ask(Ask::Steps {
            from,
            step_ns,
            count,
            end,
        });
        let (answer, estimated) = answer.split();
        if estimated != (from < self.doubtful_until)
            && !matches!(answer, Answer::Failed(_) | Answer::NotKept { .. })
        {
            return Err(format!("estimated: {estimated} from {from} on"));
        }
        self.ticked();
        let seen = (end as usize).saturating_sub(self.first);
        let seen = &self.ledger.stamps[..seen.min(self.ledger.stamps.len())];
        let step = |index: usize| {
            let begin = from.after(step_ns * index as u64);
            let inside = |stamp: &&Stamp| begin < **stamp && **stamp <= begin.after(step_ns);
            seen.iter().filter(inside).count() as u64
        };
        let expected: Vec<u64> = (0..count.min(STEPS_MAX)).map(step).collect();
        let is_right = match &answer {
            Answer::Steps(counts) => *counts == expected,
            Answer::NotKept { .. } => from < self.kept_from,
            Answer::Count(_) | Answer::Status(_) | Answer::Failed(_) | Answer::Estimated(_) => {
                false
            }
        };
        if is_right {
            return Ok(());
        }
        Err(format!(
            "{answer:?} in steps of {step_ns} ns from {from}, not {expected:?}"
        ))
    }

    fn status(&mut self) -> Result<(), String> {
        let status = self.rig().status();
        self.ticked();
        let now = self.clock.now();
        let cutoff = now.before(self.settings.window_ns);
        let expected = (self.ledger.between(cutoff, now), self.recorded.len() as u64);
        if (status.tally.expect("a number"), status.total) != expected || status.damaged_count > 0 {
            return Err(format!("{status:?}, not {expected:?}"));
        }
        let estimated = cutoff < self.doubtful_until.max(status.complete_after);
        if status.estimated != estimated {
            let until = self.doubtful_until;
            return Err(format!("{status:?}, with doubt until {until}"));
        }
        Ok(())
    }

    fn open(&mut self, disk: SimDisk) -> Result<(), String> {
        let headers = headers(&disk);
        let rig = Rig::try_open(&disk, &self.clock, self.boot, self.settings)
            .map_err(|error| error.to_string())?;
        let recovered = &rig.recovered;
        if recovered.end != self.recorded.len() as u64 || !recovered.findings.is_empty() {
            return Err(format!("{} hits, {recovered:?}", self.recorded.len()));
        }
        self.rig = Some(rig);
        let first = headers
            .first()
            .map_or(self.recorded.len(), |oldest| oldest.sequence as usize);
        self.first = first;
        self.ledger.stamps = self.placed(&headers);
        self.kept_from = match self.ledger.stamps.first() {
            Some(&oldest) if first > 0 => oldest,
            _ => Stamp::MIN,
        };
        Ok(())
    }

    /// Where the recorded hits lie today, by the documented rule.
    fn placed(&mut self, headers: &[Header]) -> Vec<Stamp> {
        let now = Reading {
            boot: self.boot,
            line_ns: self.clock.now().ns(),
            wall_ns: self.clock.wall_ns(),
        };
        let mut ends: Vec<usize> = headers.iter().map(|it| it.sequence as usize).collect();
        ends.push(self.recorded.len());
        let hits = |index: usize| &self.recorded[ends[index]..ends[index + 1]];
        let segments = headers.iter().enumerate().map(|(index, header)| {
            let base = Reading {
                boot: header.boot,
                line_ns: header.base_ns as i64,
                wall_ns: header.wall_ns,
            };
            let last = hits(index).last().map_or(1, |hit| hit.ns() - base.line_ns);
            (base.after(1), base.after(last))
        });
        let segments: Vec<_> = segments.collect();
        let lines = lines(&segments, now);
        self.doubtful_until = lines.doubtful_until;
        let shifts = lines.shifts_ns.into_iter().enumerate();
        let stamps = shifts
            .flat_map(|(index, shift_ns)| hits(index).iter().map(move |hit| hit.ns() + shift_ns));
        stamps.map(Stamp::from_ns).collect()
    }
}

/// The headers on a disk, oldest first. What bears another number than its name was recycled and
/// not written to yet.
fn headers(disk: &SimDisk) -> Vec<Header> {
    let names = disk.names();
    let header = |file: &String| {
        let bytes = disk.content(file)?;
        let header = Header::decode(bytes.get(..HEADER_BYTES)?.try_into().ok()?).ok()?;
        (name::segment(header.number) == *file).then_some(header)
    };
    names.iter().filter_map(header).collect()
}

fn run(settings: Settings, steps: &[Step]) -> Result<(), String> {
    let run = || {
        let mut world = World::new(settings);
        for (index, step) in steps.iter().enumerate() {
            world
                .take(step)
                .map_err(|why| format!("step {index}: {why}"))?;
        }
        world.take(&Step::Status)?;
        world.take(&Step::Kill)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("a panic, see above".to_owned()))
}

/// Takes out steps as long as the rest still fails.
fn shrink(settings: Settings, mut steps: Vec<Step>) -> (Vec<Step>, String) {
    let mut why = run(settings, &steps).expect_err("it has just failed");
    let mut length = steps.len() / 2;
    while length > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + length).min(steps.len()));
            match run(settings, &fewer) {
                Err(still) => (steps, why) = (fewer, still),
                Ok(()) => from += length,
            }
        }
        length /= 2;
    }
    (steps, why)
}

fn agrees_with_the_model(seeds: u64, policy: SyncPolicy) {
    for_seeds(seeds, |seed| {
        let mut chance = Chance::new(seed);
        let window_ns = chance.pick(&[
            MILLISECOND_NS,
            MILLISECOND_NS + 1,
            37 * MILLISECOND_NS,
            SECOND_NS,
        ]);
        let retain_ns = window_ns + chance.span(2 * window_ns);
        let records = chance.pick(&[1, 4, 50, 700]);
        let mut settings = settings(policy, records, retain_ns);
        settings.window_ns = window_ns;
        settings.limits.seal_age_ns = window_ns;
        let steps = steps(&mut chance, window_ns, 500);
        if run(settings, &steps).is_err() {
            let (steps, why) = shrink(settings, steps);
            panic!("{why}\n{settings:?}\n{steps:#?}");
        }
    });
}

#[test]
fn every_answer_is_the_models_without_syncs() {
    agrees_with_the_model(300, SyncPolicy::Never);
}

#[test]
fn every_answer_is_the_models_with_a_sync_before_each() {
    agrees_with_the_model(200, SyncPolicy::Always);
}

#[test]
fn every_answer_is_the_models_with_a_sync_now_and_then() {
    agrees_with_the_model(200, SyncPolicy::Every { period_ns: 100_000 });
}
