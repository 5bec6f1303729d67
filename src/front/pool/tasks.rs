//! What operators have asked for, answered a piece at a time.
//!
//! Owns the turns of the tasks: after each pass one of them does one piece, so that an answer of any
//! length delays hits by no more than a piece of it. A connection that waits for its page is not read.
//!
//! Must not know what a page says. Invariant: a task ends with its connection.

use super::Count;
use super::worker::Worker;
use crate::clock::Clock;

/// What a page's head takes, and a little more.
const HEAD_BYTES: usize = 1 << 10;

impl<C: Clock, K: Count> Worker<C, K> {
    /// Does one piece of one task, and sends its page if that was the last.
    pub(super) fn take_step(&mut self) {
        let Some(key) = self.tasks.pop_front() else {
            return;
        };
        // The place of a connection that is gone may be somebody else's by now.
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(task) = &mut connection.task else {
            return;
        };
        let Some(page) = task.step() else {
            connection.deadline = self.clock.now().after(self.shared.limits.idle_ns_max);
            self.tasks.push_back(key);
            return;
        };
        connection.task = None;
        connection.hear(self.clock.now());
        self.responder.set_date(self.clock.wall_ns());
        // A page may be long, and the worker's own storage is never given back.
        let mut out = Vec::with_capacity(page.body.len() + HEAD_BYTES);
        self.responder.page(&mut out, &page, connection.form);
        drop(page);
        connection.send(&out);
        self.settle(key);
    }
}
