//! A pool on a clock by hand, put together from parts of the library, that answers every hit with 1.
//!
//! Owns the counting, which is none: everything a front does is done, and no time passes but what a test
//! lets pass. Must not know what is tested. Invariant: no thread but the pool's own is needed.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tallyd::alarm::Alarm;
use tallyd::clock::HandClock;
use tallyd::front::pool::limits::Limits;
use tallyd::front::pool::{Count, start_with};
use tallyd::front::{Front, Plan, Stamping};
use tallyd::hit::{Batch, Gone, Inlet, Line, Message, Outlet, Verdict, channel};
use tallyd::stamp::{SECOND_NS, Stamp};

/// Answers every hit with 1.
struct Ones {
    line: Line,
    messages: Outlet,
    _inlet: Inlet,
    clock: HandClock,
    during: Arc<During>,
}

/// What is done while a batch is being counted, by the worker that waits for it.
pub type During = dyn Fn(&HandClock) + Send + Sync;

impl Count for Ones {
    fn next_batch(&mut self) -> Result<&mut Batch, Gone> {
        self.line.next_batch()
    }

    fn exchange(&mut self) -> Result<&Batch, Gone> {
        (self.during)(&self.clock);
        self.line.send()?;
        if let Ok(Message::Batch(mut batch)) = self.messages.recv() {
            for hit in batch.hits_mut() {
                hit.tally = 1;
            }
            batch.answer(Verdict::Counted);
        }
        self.line.wait()
    }
}

/// A pool that serves at an address, on a clock that stands still but for `batch_ns` a batch.
pub fn serve(
    workers: usize,
    limits: Limits,
    batch_ns: u64,
) -> (Box<dyn Front>, SocketAddr, HandClock) {
    serve_while(
        workers,
        limits,
        Arc::new(move |clock| clock.advance(batch_ns)),
    )
}

/// The plan of a front without an admin listener, whose alarm is a panic.
pub fn plan(
    listener: TcpListener,
    workers: usize,
    inlet: Inlet,
    clock: HandClock,
    limits: Limits,
) -> Plan<HandClock> {
    Plan {
        listener,
        workers,
        inlet,
        clock,
        alarm: Alarm::new(|cause| panic!("{cause}")),
        stamping: Stamping::Read,
        limits,
        desk: None,
        gauges: Arc::default(),
    }
}

/// A pool that serves at an address, on a clock that stands still but for what `during` does.
pub fn serve_while(
    workers: usize,
    limits: Limits,
    during: Arc<During>,
) -> (Box<dyn Front>, SocketAddr, HandClock) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let clock = HandClock::new(Stamp::from_ns(1000 * SECOND_NS.cast_signed()), 0);
    let plan = plan(listener, workers, channel().0, clock.clone(), limits);
    let counter = || {
        let (inlet, messages) = channel();
        Ones {
            line: inlet.line(),
            messages,
            _inlet: inlet,
            clock: clock.clone(),
            during: Arc::clone(&during),
        }
    };
    let front = start_with(plan, counter).expect("a pool");
    (front, address, clock)
}
