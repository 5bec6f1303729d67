//! The parts of `src/handoff.rs` once more, made of shuttle's: every use of one is a place where another
//! thread may go first.
//!
//! Owns a bounded channel with the behaviour of crossbeam's as far as `hit.rs` uses it. A patience of any
//! length may be over at once. Must not know what is sent.

pub use shuttle::sync::Arc;
pub use shuttle::sync::atomic::{AtomicBool, Ordering};

use shuttle::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;

/// Why nothing was received in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    Timeout,
    Disconnected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    Empty,
    Disconnected,
}

/// Why nothing was sent in time.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    Timeout(T),
    Disconnected(T),
}

/// The other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

pub mod thread {
    //! Threads of shuttle.

    pub use shuttle::thread::{Thread, current, park, yield_now};
    use std::time::Duration;

    /// The time may be over at once, or the thread be woken before: for whoever waits it is the same.
    pub fn park_timeout(_patience: Duration) {
        yield_now();
    }
}

/// Set once, and seen by whoever looks afterwards.
#[derive(Debug)]
pub struct OnceLock<T>(Mutex<Option<T>>, std::sync::OnceLock<T>);

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self(Mutex::new(None), std::sync::OnceLock::new())
    }
}

impl<T> OnceLock<T> {
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        drop(self.0.lock());
        self.1.get_or_init(make)
    }

    pub fn get(&self) -> Option<&T> {
        drop(self.0.lock());
        self.1.get()
    }
}

#[derive(Debug)]
struct Shared<T> {
    room: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
}

#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

pub fn bounded<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        room,
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            senders: 1,
            has_receiver: true,
        }),
        changed: Condvar::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    pub fn send(&self, value: T) -> Result<(), Disconnected> {
        let mut state = self.0.state.lock().expect("no panic");
        while state.has_receiver && state.waiting.len() == self.0.room {
            state = self.0.changed.wait(state).expect("no panic");
        }
        if !state.has_receiver {
            return Err(Disconnected);
        }
        state.waiting.push_back(value);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Patience without end: no model asks so.
    pub fn send_timeout(&self, value: T, _patience: Duration) -> Result<(), SendTimeoutError<()>> {
        let sent = self.send(value);
        sent.map_err(|Disconnected| SendTimeoutError::Disconnected(()))
    }

    /// Gives the value back if there is no room or nobody to receive it.
    pub fn try_send(&self, value: T) -> Result<(), T> {
        let mut state = self.0.state.lock().expect("no panic");
        if !state.has_receiver || state.waiting.len() == self.0.room {
            return Err(value);
        }
        state.waiting.push_back(value);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().expect("no panic").senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state.lock().expect("no panic").senders -= 1;
        self.0.changed.notify_all();
    }
}

impl<T> Receiver<T> {
    /// Patience without end: no model asks so.
    pub fn recv_timeout(&self, _patience: Duration) -> Result<T, RecvTimeoutError> {
        self.recv()
            .map_err(|Disconnected| RecvTimeoutError::Disconnected)
    }

    pub fn recv(&self) -> Result<T, Disconnected> {
        let mut state = self.0.state.lock().expect("no panic");
        loop {
            match state.waiting.pop_front() {
                Some(value) => {
                    self.0.changed.notify_all();
                    return Ok(value);
                }
                None if state.senders == 0 => return Err(Disconnected),
                None => state = self.0.changed.wait(state).expect("no panic"),
            }
        }
    }

    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = self.0.state.lock().expect("no panic");
        match state.waiting.pop_front() {
            Some(value) => {
                self.0.changed.notify_all();
                Ok(value)
            }
            None if state.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.state.lock().expect("no panic").waiting.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // As in crossbeam's bounded channel, what waits stays until its senders are gone too.
        self.0.state.lock().expect("no panic").has_receiver = false;
        self.0.changed.notify_all();
    }
}
