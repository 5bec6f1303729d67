//! Threads that do not die unheard.
//!
//! Owns the way a thread that cannot go on ends the process: it raises the alarm, `serve` stops what
//! still runs, makes the journal safe and returns the cause as its error. A server that has lost a
//! thread and lives on would be deaf, and no supervisor would know.
//!
//! Must not know what the threads do. Invariant: no thread of ours ends by a panic without an alarm.

use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Ends the process with a cause.
#[derive(Clone)]
pub struct Alarm(Arc<dyn Fn(String) + Send + Sync>);

impl Alarm {
    /// An alarm that calls `ring`, which must not block.
    #[must_use]
    pub fn new(ring: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ring))
    }

    /// Says why the process has to end.
    pub fn raise(&self, cause: String) {
        (self.0)(cause);
    }

    /// Starts a thread whose panic raises the alarm; joining it then gives nothing.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Option<T>>> {
        let alarm = self.clone();
        let thread = name.to_owned();
        let guarded = move || {
            // Whatever a panic leaves half done is given up together with the process.
            let result = catch_unwind(AssertUnwindSafe(body));
            if result.is_err() {
                alarm.raise(format!("thread {thread} panicked"));
            }
            result.ok()
        };
        Builder::new()
            .name(name.to_owned())
            .spawn(guarded)
            .map_err(|cause| Error::io("start thread", name, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    #[test]
    fn a_panic_raises_the_alarm_and_a_result_does_not() {
        let (causes, heard) = unbounded();
        let alarm = Alarm::new(move |cause| causes.send(cause).expect("the test listens"));
        let sound = alarm.spawn("sound", || 7).expect("a thread");
        assert_eq!(sound.join().expect("no panic gets out"), Some(7));
        assert!(heard.is_empty());
        let broken = alarm.spawn("broken", || std::panic::resume_unwind(Box::new(())));
        let broken: Option<()> = broken.expect("a thread").join().expect("no panic gets out");
        assert_eq!(broken, None);
        assert_eq!(heard.try_recv().as_deref(), Ok("thread broken panicked"));
    }
}
