//! What a handoff between threads is made of: a bounded channel, and threads that sleep and are woken.
//!
//! Owns nothing but the choice. `hit.rs` takes these from here and from nowhere else, so that
//! `tests/races.rs` can put others in their place, which go through the orders in which threads may run.
//!
//! Must not know what is handed over. Invariant: what `hit.rs` shares between threads is made of these.

pub use crossbeam_channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, bounded,
};
pub use std::sync::atomic::{AtomicBool, Ordering};
pub use std::sync::{Arc, OnceLock};
pub use std::thread;
