//! What the tests of the server stand on.

#![allow(dead_code, reason = "each test program uses another part")]

pub mod client;
pub mod seed;
pub mod server;
