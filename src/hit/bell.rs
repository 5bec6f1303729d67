//! What wakes a thread that waits at a channel's end.
//!
//! Owns falling asleep and being woken. Must not know what travels in the channel. Invariant: a ring between
//! looking at the channel and falling asleep is not lost, since it is kept by the sleeper itself.

use crate::handoff::thread::{self, Thread};
use crate::handoff::{Arc, OnceLock};
use std::time::Duration;

/// Wakes the one thread that waits at a channel's end.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<OnceLock<Thread>>);

impl Bell {
    /// Sleeps until somebody rings, if nobody has rung since the last time; under load it looks up a
    /// few times before.
    pub fn wait(yields: &mut u32, patience: Option<Duration>) {
        if *yields > 0 {
            *yields -= 1;
            thread::yield_now();
        } else if let Some(patience) = patience {
            thread::park_timeout(patience);
        } else {
            thread::park();
        }
    }

    /// Makes the present thread the one to be woken; it is always the same.
    pub fn own(&self) {
        let owner = self.0.get_or_init(thread::current);
        debug_assert_eq!(owner.id(), thread::current().id(), "one thread waits here");
    }

    /// Wakes the owner, or keeps it from falling asleep if it is about to.
    pub fn ring(&self) {
        if let Some(owner) = self.0.get() {
            owner.unpark();
        }
    }
}
