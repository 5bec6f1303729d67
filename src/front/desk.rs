//! The operator's side of a front: requests that do not count, and what they are answered with.
//!
//! Owns the seam between the pool, which reads and writes, and whoever knows the answers. An answer may
//! take long, so it is made in pieces: a worker does one piece between two passes, and hits go on.
//!
//! Must not know what is asked or answered. Invariant: nothing that passes here reaches a batch.

use super::pool::request::Request;
use std::borrow::Cow;
use std::net::TcpListener;
use std::sync::Arc;

/// A door for operators, and who answers there.
pub struct Desk {
    /// Where operators connect.
    pub listener: TcpListener,
    /// Who answers.
    pub operator: Arc<dyn Operator>,
}

/// Whoever answers what does not count.
pub trait Operator: Send + Sync {
    /// Takes up a request. With `draining`, the process is about to end.
    fn take(&self, request: &Request<'_>, draining: bool) -> Box<dyn Task>;
}

/// An answer in the making.
pub trait Task: Send {
    /// Does one piece of it, which takes no longer than a pass full of hits; the page when it is ready.
    fn step(&mut self) -> Option<Page>;
}

/// What an operator gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status line behind the version, such as `200 OK`.
    pub status: &'static str,
    /// The media type.
    pub media: &'static str,
    /// Further header lines, each with its line end.
    pub headers: &'static str,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

/// A page that needs no time is its own task.
impl Task for Page {
    fn step(&mut self) -> Option<Page> {
        Some(self.clone())
    }
}
