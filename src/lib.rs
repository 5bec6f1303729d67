//! `tallyd` answers every HTTP request with the exact number of requests it has received in the
//! previous 60 seconds, and keeps that number right across restarts, kills and power cuts.

#![forbid(unsafe_code)]

pub mod alarm;
pub mod clock;
pub mod error;
pub mod front;
pub mod funnel;
pub mod hit;
pub mod journal;
pub mod notation;
pub mod options;
pub mod report;
pub mod serve;
pub mod stamp;
pub mod window;
