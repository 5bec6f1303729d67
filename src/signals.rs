//! What each signal does to a server.
//!
//! | signal | effect |
//! |---|---|
//! | TERM, INT, HUP, QUIT | drain: answer what is under way, sync, end; a second one ends the process at once |
//! | USR1, USR2, ALRM, PIPE, XFSZ | none |
//! | any other | the kernel's default |
//!
//! HUP stays ignored if the parent left it so, as `nohup` does. The handlers also make a server obey as
//! process 1 of a container, for which the kernel drops every signal that has no handler.
//!
//! Must not know how a server drains. Invariant: a handler only sets a flag, writes a byte or ends the process.

use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags, open};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Signals that drain.
const DRAINING: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];
/// Signals that do nothing. XFSZ so becomes an error of the write that hits the limit. PIPE is ignored by the
/// standard library.
const IGNORED: [i32; 4] = [SIGUSR1, SIGUSR2, SIGALRM, SIGXFSZ];

/// Installs the handlers: a pipe that a draining signal writes to, and its other end for other threads that
/// have to wake its reader.
///
/// # Errors
/// The kernel has no descriptor to give.
pub fn catch() -> Result<(UnixStream, UnixStream)> {
    let failed = |cause| Error::io("catch", "signals", cause);
    let (woken, waker) = UnixStream::pair().map_err(failed)?;
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in DRAINING {
        if signal == SIGHUP && ignored(SIGHUP) {
            continue;
        }
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stopping)).map_err(failed)?;
        flag::register(signal, Arc::clone(&stopping)).map_err(failed)?;
        pipe::register(signal, waker.try_clone().map_err(failed)?).map_err(failed)?;
    }
    for signal in IGNORED {
        flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(failed)?;
    }
    // An alarm must not block.
    waker.set_nonblocking(true).map_err(failed)?;
    Ok((woken, waker))
}

/// Whether the parent left `signal` ignored, as far as `/proc` says so.
fn ignored(signal: i32) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = open("/proc/self/status", flags, Mode::empty()) else {
        return false;
    };
    let mut text = [0; 4096];
    let length = rustix::io::read(&file, &mut text[..]).unwrap_or(0);
    is_in_mask(&String::from_utf8_lossy(&text[..length]), signal)
}

/// Whether `status`, as in proc(5), has `signal` among the ignored ones.
fn is_in_mask(status: &str, signal: i32) -> bool {
    let mut masks = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigIgn:"));
    let mask = masks
        .next()
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_found_in_the_mask_and_no_other() {
        let status = "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        let found = [SIGHUP, SIGINT, SIGQUIT, 13].map(|signal| is_in_mask(status, signal));
        assert_eq!(found, [true, false, false, true]);
        assert!(!is_in_mask("", SIGHUP) && !is_in_mask("SigIgn:\tx", SIGHUP));
        assert!(ignored(13), "the standard library ignores PIPE");
        assert!(!ignored(SIGUSR1));
    }
}
