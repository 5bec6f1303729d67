//! A pool that counts nothing: what the front alone costs. For `scripts/bench`; no part of `tallyd`.
//!
//! Owns a counter that sends each batch through the channel to itself and gives every hit the tally 1:
//! everything a front does is done, nothing is stamped into a journal, and no thread is woken.
//!
//! Must not know of the funnel. Invariant: it serves like the server, on the same options, until it is
//! ended.

#![forbid(unsafe_code)]

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use tallyd::alarm::Alarm;
use tallyd::clock::SystemClock;
use tallyd::front::pool::{self, Count};
use tallyd::front::{Kind, Plan};
use tallyd::hit::{Batch, Gone, Inlet, Line, Message, Outlet, Verdict, channel};
use tallyd::options::{self, Command};

/// Both ends of a line.
struct Nothing {
    line: Line,
    messages: Outlet,
    _inlet: Inlet,
}

impl Nothing {
    fn new() -> Self {
        let (inlet, messages) = channel();
        Self {
            line: inlet.line(),
            messages,
            _inlet: inlet,
        }
    }
}

impl Count for Nothing {
    fn next_batch(&mut self) -> Result<&mut Batch, Gone> {
        self.line.next_batch()
    }

    fn exchange(&mut self) -> Result<&Batch, Gone> {
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

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = std::env::args_os().skip(1);
    let Command::Serve(options) = options::parse(arguments, |name| std::env::var_os(name))? else {
        return Err("only served, see tallyd --help".into());
    };
    assert_eq!(options.front, Kind::Pool, "only the pool has a bare form");
    let listener = TcpListener::bind(&options.listen)?;
    let address = listener.local_addr()?;
    let (inlet, _nobody) = channel();
    let plan = Plan {
        listener,
        workers: options.workers,
        inlet,
        clock: SystemClock,
        alarm: Alarm::new(|cause| panic!("{cause}")),
        stamping: options.stamping,
        limits: options.limits,
        desk: None,
        gauges: Arc::default(),
    };
    let _front = pool::start_with(plan, Nothing::new)?;
    println!("listening on {address}");
    loop {
        std::thread::park();
    }
}
