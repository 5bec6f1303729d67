//! What the tests stand on: for the engine a simulated disk, faults, chance from a seed and a funnel
//! driven by hand; for the server the binary as a process and a raw client.
//!
//! Owns nothing itself. Every file in `tests/` is a program of its own and uses another part of
//! this, which is why unused parts are no finding here.
//!
//! Must not know which test asks. Invariant: nothing here sleeps or draws a number that a seed does
//! not give, and what serves the engine's tests reads no clock.

#![allow(dead_code, reason = "each test program uses another part")]

pub mod boots;
pub mod client;
pub mod disk;
pub mod embedded;
pub mod ended;
pub mod fault;
pub mod ledger;
pub mod ones;
pub mod rig;
pub mod seed;
pub mod server;
pub mod talking;
pub mod terminal;
