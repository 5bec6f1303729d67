//! What a disk does wrong, as a test arranges it: which call fails, with what, how often.
//!
//! Owns the list of faults to come, the room that is left, and whether reads and writes are short.
//! A fault is counted in calls of one operation, from the moment it is arranged, so that a test can
//! walk a fault through every call of a run. Once it is through, `is_over` says whether it was met.
//! The process can also be made to die at a call: it unwinds with [`Death`], which a test catches.
//!
//! Must not know of files. Invariant: without an arrangement nothing ever fails.

use super::seed::Chance;
use std::io;
use std::panic::resume_unwind;
use tallyd::clock::HandClock;

pub const EPERM: i32 = 1;
pub const EINTR: i32 = 4;
pub const EIO: i32 = 5;
pub const EINVAL: i32 = 22;
pub const EMFILE: i32 = 24;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;
pub const EOPNOTSUPP: i32 = 95;
/// No error of the kernel: the call panics.
pub const PANIC: i32 = -1;

/// One operation of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    List,
    Create,
    Open,
    Rename,
    Remove,
    SyncNames,
    Read,
    Write,
    SetLen,
    SyncFile,
}

const OPS: usize = Op::SyncFile as usize + 1;

#[derive(Clone, Debug)]
struct Fault {
    op: Op,
    /// Calls that still go well.
    spared: u64,
    /// Calls that fail after them.
    times: u64,
    errno: i32,
}

/// What a process that dies at a call unwinds with.
#[derive(Debug)]
pub struct Death;

/// The faults to come.
#[derive(Clone, Debug)]
pub struct Faults {
    faults: Vec<Fault>,
    room_bytes: Option<usize>,
    short: bool,
    chance: Chance,
    /// Calls until the process dies.
    life: Option<u64>,
    /// Calls that failed, but for the interruptions that are to be invisible.
    failures: u64,
    /// Failed calls but for reads and writes: something that was to go may have stayed.
    kept: u64,
    /// Calls so far, by operation.
    calls: [u64; OPS],
    /// The operation that takes time, how many nanoseconds, and on which clock.
    slow: Option<(Op, u64, HandClock)>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            room_bytes: None,
            short: false,
            chance: Chance::new(0),
            life: None,
            failures: 0,
            kept: 0,
            calls: [0; OPS],
            slow: None,
        }
    }
}

impl Faults {
    /// The `nth` call of `op` from now on fails, once; 1 is the next.
    pub fn once(&mut self, op: Op, nth: u64, errno: i32) {
        self.some(op, nth, 1, errno);
    }

    /// The `nth` call of `op` from now on fails, and so do the ones behind it, `times` in all.
    pub fn some(&mut self, op: Op, nth: u64, times: u64, errno: i32) {
        let spared = nth - 1;
        self.faults.push(Fault {
            op,
            spared,
            times,
            errno,
        });
    }

    /// The `nth` call of `op` from now on fails, and every one behind it.
    pub fn sticky(&mut self, op: Op, nth: u64, errno: i32) {
        self.some(op, nth, u64::MAX, errno);
    }

    /// From now on no file can be removed or renamed.
    pub fn names_stay(&mut self) {
        self.sticky(Op::Remove, 1, EPERM);
        self.sticky(Op::Rename, 1, EPERM);
    }

    /// Files may grow by so many bytes in all.
    pub fn room(&mut self, bytes: usize) {
        self.room_bytes = Some(bytes);
    }

    /// From now on reads and writes are short, as `seed` says.
    pub fn short(&mut self, seed: u64) {
        self.short = true;
        self.chance = Chance::new(seed);
    }

    /// What a failed sync leaves on the device follows from `seed`.
    pub fn seed(&mut self, seed: u64) {
        self.chance = Chance::new(seed);
    }

    /// From now on each call of `op` takes `span_ns` on `clock`.
    pub fn slow(&mut self, op: Op, span_ns: u64, clock: &HandClock) {
        self.slow = Some((op, span_ns, clock.clone()));
    }

    /// Nothing fails any more, and nothing takes time.
    pub fn heal(&mut self) {
        self.slow = None;
        self.faults.clear();
        self.room_bytes = None;
        self.short = false;
    }

    /// The process dies at the call after the next `calls`, and never if there are none.
    pub const fn die_after(&mut self, calls: Option<u64>) {
        self.life = calls;
    }

    /// Whether the process dies at the very next call.
    pub(super) const fn is_dying(&self) -> bool {
        matches!(self.life, Some(0))
    }

    /// Calls that failed so far, but for interrupted reads and writes.
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// Calls so far that failed and might have taken something away.
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    /// Calls of `op` so far, those that failed too.
    pub const fn calls(&self, op: Op) -> u64 {
        self.calls[op as usize]
    }

    /// Whether every fault has been met as often as it was to be.
    pub const fn is_over(&self) -> bool {
        self.faults.is_empty()
    }

    /// A call of `op` is made.
    pub(super) fn meet(&mut self, op: Op) -> io::Result<()> {
        match &mut self.life {
            Some(0) => resume_unwind(Box::new(Death)),
            Some(left) => *left -= 1,
            None => {}
        }
        self.calls[op as usize] += 1;
        if let Some((_, span_ns, clock)) = self.slow.as_ref().filter(|(slow, ..)| *slow == op) {
            clock.advance(*span_ns);
        }
        let mut met = None;
        for fault in self.faults.iter_mut().filter(|fault| fault.op == op) {
            if fault.spared > 0 {
                fault.spared -= 1;
            } else if met.is_none() {
                fault.times -= 1;
                met = Some(fault.errno);
            }
        }
        self.faults.retain(|fault| fault.times > 0);
        if met == Some(PANIC) {
            resume_unwind(Box::new(Death));
        }
        let invisible = met == Some(EINTR) && matches!(op, Op::Read | Op::Write);
        if met.is_some() && !invisible {
            self.failures += 1;
            self.kept += u64::from(!matches!(op, Op::Read | Op::Write | Op::List));
        }
        met.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// How much of `bytes` a read or write does.
    pub(super) fn shorten(&mut self, bytes: usize) -> usize {
        if self.short && bytes > 1 {
            self.chance.between(1, bytes as u64) as usize
        } else {
            bytes
        }
    }

    /// How many of `bytes` more there is room for; they are taken.
    pub(super) fn grow(&mut self, bytes: usize) -> usize {
        let Some(room) = &mut self.room_bytes else {
            return bytes;
        };
        let granted = bytes.min(*room);
        *room -= granted;
        self.failures += u64::from(granted < bytes);
        granted
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        if let Some(room) = &mut self.room_bytes {
            *room += bytes;
        }
    }

    pub(super) const fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }
}
