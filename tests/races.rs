//! The protocol between workers, funnel and sync thread, in the orders in which threads may run.
//!
//! Owns models of the threads around the real `src/hit/mod.rs`, whose channel and whose sleeping threads are
//! shuttle's here: at each use of one, chance decides who goes on. Shuttle fails when everybody waits,
//! which is what a lost wake-up comes to, and prints a schedule that replays the failure.
//!
//! Must not know of clocks, sockets or disks. Invariants: every batch comes back once, with the tallies
//! of its turn; under a policy of always not before a sync covers it; an end that is gone is noticed.

#[path = "races/handoff.rs"]
mod handoff;
#[path = "../src/hit/mod.rs"]
#[allow(dead_code, unused_imports, missing_docs)]
mod hit;
mod meter {
    pub use tallyd::meter::Meters;
}
mod stamp {
    pub use tallyd::stamp::Stamp;
}

use handoff::{Receiver, RecvTimeoutError, Sender, bounded};
use hit::{Answer, Ask, Batch, Gone, Inlet, Message, Outlet, Verdict, channel};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use stamp::Stamp;
use std::collections::VecDeque;
use std::time::Duration;

/// Orders that are gone through by each scheduler, unless `TALLYD_TEST_COUNT` says how many.
const ORDERS: usize = 200;
/// Changes of thread against its priority, of the scheduler that seeks rare orders.
const RARE_CHANGES: usize = 3;

/// Runs a model in many orders.
fn in_many_orders(model: fn()) {
    let given = std::env::var("TALLYD_TEST_COUNT").ok();
    let orders = given.and_then(|count| count.parse().ok()).unwrap_or(ORDERS);
    Runner::new(RandomScheduler::new(orders), Config::new()).run(model);
    Runner::new(PctScheduler::new(RARE_CHANGES, orders), Config::new()).run(model);
}

/// A funnel that counts in memory: no window, no journal.
struct Counter {
    tally: u64,
    synced: u64,
    /// Batches that wait for a sync, with the count that it has to cover.
    held: VecDeque<(u64, Batch)>,
    /// Where syncs are asked for, if answers wait for them.
    jobs: Option<Sender<u64>>,
    syncing: bool,
}

impl Counter {
    const fn new(jobs: Option<Sender<u64>>) -> Self {
        Self {
            tally: 0,
            synced: 0,
            held: VecDeque::new(),
            jobs,
            syncing: false,
        }
    }

    /// Takes turns until it is told to stop, or nobody can tell it any more.
    fn run(mut self, messages: &Outlet, patience: Option<Duration>) -> u64 {
        loop {
            match messages.wait(patience) {
                Ok(Message::Batch(batch)) => {
                    self.count(batch);
                    while let Ok(message) = messages.try_recv() {
                        if !self.take(message) {
                            return self.tally;
                        }
                    }
                }
                Ok(message) => {
                    if !self.take(message) {
                        return self.tally;
                    }
                }
                Err(RecvTimeoutError::Timeout) => thread::yield_now(),
                Err(RecvTimeoutError::Disconnected) => return self.tally,
            }
            self.sync();
        }
    }

    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Batch(batch) => self.count(batch),
            Message::Query(query) => {
                let _gone = query.reply.try_send(Answer::Count(self.tally));
            }
            Message::Synced(covers, _) => {
                self.syncing = false;
                self.synced = covers;
                while self.held.front().is_some_and(|(end, _)| *end <= covers) {
                    let (_, batch) = self.held.pop_front().expect("one is held");
                    batch.answer(Verdict::Counted);
                }
            }
            Message::Stop => return false,
        }
        true
    }

    fn count(&mut self, mut batch: Batch) {
        for hit in batch.hits_mut() {
            self.tally += 1;
            hit.tally = self.tally;
        }
        if self.jobs.is_some() {
            self.held.push_back((self.tally, batch));
        } else {
            batch.answer(Verdict::Counted);
        }
    }

    fn sync(&mut self) {
        if let Some(jobs) = self
            .jobs
            .as_ref()
            .filter(|_| !self.syncing && self.synced < self.tally)
        {
            self.syncing = true;
            jobs.send(self.tally).expect("the sync thread runs");
        }
    }
}

/// Sends batches of 1 hit, 2 hits and so on; returns all its tallies.
fn work(inlet: &Inlet, passes: usize) -> Vec<u64> {
    let mut line = inlet.line();
    let mut tallies = Vec::new();
    for pass in 1..=passes {
        let batch = line.next_batch().expect("the batch is here");
        for _ in 0..pass * 3 {
            batch.push(Stamp::from_ns(1));
        }
        let batch = line.exchange().expect("the funnel runs");
        assert_eq!(
            (batch.verdict(), batch.hits().len()),
            (Verdict::Counted, pass * 3)
        );
        tallies.extend(batch.hits().iter().map(|hit| hit.tally));
    }
    tallies
}

fn all_once(mut tallies: Vec<u64>, total: u64) {
    tallies.sort_unstable();
    assert!(tallies.into_iter().eq(1..=total), "every number once");
}

#[test]
fn every_batch_comes_back_with_numbers_of_its_own() {
    in_many_orders(|| {
        let (inlet, messages) = channel();
        let funnel = thread::spawn(move || Counter::new(None).run(&messages, None));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let inlet = inlet.clone();
                thread::spawn(move || work(&inlet, 2))
            })
            .collect();
        let tallies = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"));
        let tallies = tallies.collect();
        inlet.send(Message::Stop).expect("the funnel runs");
        all_once(tallies, funnel.join().expect("no panic"));
    });
}

#[test]
fn a_funnel_with_patience_misses_no_message() {
    in_many_orders(|| {
        let (inlet, messages) = channel();
        let patience = Some(Duration::from_secs(1));
        let funnel = thread::spawn(move || Counter::new(None).run(&messages, patience));
        let asking = inlet.clone();
        let worker = thread::spawn(move || work(&asking, 2));
        let answer = inlet.ask(Ask::Status).expect("the funnel runs");
        assert!(matches!(answer, Answer::Count(0..=9)), "{answer:?}");
        let tallies = worker.join().expect("no panic");
        drop(inlet);
        all_once(tallies, funnel.join().expect("no panic"));
    });
}

#[test]
fn under_always_nobody_is_answered_before_a_sync_and_everybody_after_it() {
    in_many_orders(|| {
        let (inlet, messages) = channel();
        let (jobs, taken): (Sender<u64>, Receiver<u64>) = bounded(1);
        let (device, on_device) = bounded::<u64>(64);
        let replies = inlet.clone();
        let syncing = thread::spawn(move || {
            while let Ok(covers) = taken.recv() {
                device.send(covers).expect("the test looks");
                if replies.send(Message::Synced(covers, Ok(()))).is_err() {
                    return;
                }
            }
        });
        let funnel = thread::spawn(move || Counter::new(Some(jobs)).run(&messages, None));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let inlet = inlet.clone();
                thread::spawn(move || work(&inlet, 2))
            })
            .collect();
        let tallies = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"));
        let tallies: Vec<u64> = tallies.collect();
        // All are answered, so what they were told of is on the device.
        let mut covered = 0;
        while let Ok(covers) = on_device.try_recv() {
            assert!(covers > covered, "syncs go forward");
            covered = covers;
        }
        assert_eq!(covered, tallies.len() as u64);
        inlet.send(Message::Stop).expect("the funnel runs");
        all_once(tallies, funnel.join().expect("no panic"));
        syncing.join().expect("no panic");
    });
}

#[test]
fn a_funnel_that_is_gone_is_noticed_by_everybody_who_waits() {
    in_many_orders(|| {
        let (inlet, messages) = channel();
        let funnel = thread::spawn(move || {
            // It takes one message and ends with it in its hands.
            let _lost = messages.wait(None);
        });
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let mut line = inlet.line();
                thread::spawn(move || {
                    line.next_batch().expect("a batch").push(Stamp::from_ns(1));
                    assert_eq!(line.exchange().err(), Some(Gone));
                })
            })
            .collect();
        // Whoever asks is told so too.
        assert_eq!(inlet.ask(Ask::Status), Err(Gone));
        for worker in workers {
            worker.join().expect("no panic");
        }
        funnel.join().expect("no panic");
    });
}

#[test]
fn a_funnel_whose_fronts_are_gone_ends() {
    in_many_orders(|| {
        let (inlet, messages) = channel();
        let funnel = thread::spawn(move || Counter::new(None).run(&messages, None));
        let worker = thread::spawn(move || work(&inlet, 1));
        let tallies = worker.join().expect("no panic");
        all_once(tallies, funnel.join().expect("no panic"));
    });
}
