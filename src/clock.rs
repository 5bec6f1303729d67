//! Where stamps come from: the boot-time clock, and a clock by hand for tests.
//!
//! Owns every reading of a clock in tallyd. `CLOCK_BOOTTIME` counts suspend and no wall-clock step,
//! leap second or time zone moves it. A time namespace shifts it; its shift is taken off, so that all
//! namespaces of a host share one line. Elsewhere than Linux the monotonic clock serves. Where no boot
//! identifier can be had, every start draws one that is marked as unknown.
//!
//! Must not know what is counted. Invariant: order and windows rest on `now` alone; the wall clock
//! is only ever half of an anchor.

use crate::error::Result;
use crate::stamp::{Anchor, BootId, MILLISECOND_NS, SECOND_NS, Stamp};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(target_os = "linux")]
const LINE: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const LINE: ClockId = ClockId::Monotonic;

/// What the funnel and the fronts ask of a clock.
pub trait Clock: Clone + Send + 'static {
    /// The present instant; never earlier than any reading before it.
    fn now(&self) -> Stamp;
    /// The present instant on the wall clock, in nanoseconds since 1970.
    fn wall_ns(&self) -> i64;
    /// The present instant on both clocks.
    fn anchor(&self) -> Anchor {
        Anchor {
            at: self.now(),
            wall_ns: self.wall_ns(),
        }
    }
}

/// What the time namespace of this process adds to the boot-time clock, in nanoseconds; read once.
static NAMESPACE_NS: OnceLock<i64> = OnceLock::new();

/// The system's clocks. A stamp costs one vDSO call and one subtraction.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let namespace_ns = *NAMESPACE_NS.get_or_init(namespace_ns);
        Stamp::from_ns(nanoseconds(clock_gettime(LINE)).saturating_sub(namespace_ns))
    }

    fn wall_ns(&self) -> i64 {
        nanoseconds(clock_gettime(ClockId::Realtime))
    }
}

/// CPU time that this process has taken, in nanoseconds.
#[must_use]
pub fn process_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime)).unsigned_abs()
}

/// One of the system's clocks, for whoever compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// How people call it.
    pub name: &'static str,
    id: ClockId,
}

/// The clocks that hits might be stamped by.
#[cfg(target_os = "linux")]
pub const CANDIDATES: &[Candidate] = &[
    candidate("boot time", ClockId::Boottime),
    candidate("monotonic", ClockId::Monotonic),
    candidate("monotonic raw", ClockId::MonotonicRaw),
    candidate("monotonic coarse", ClockId::MonotonicCoarse),
    candidate("realtime", ClockId::Realtime),
    candidate("realtime coarse", ClockId::RealtimeCoarse),
];
/// The clocks that hits might be stamped by.
#[cfg(not(target_os = "linux"))]
pub const CANDIDATES: &[Candidate] = &[
    candidate("monotonic", ClockId::Monotonic),
    candidate("realtime", ClockId::Realtime),
];

const fn candidate(name: &'static str, id: ClockId) -> Candidate {
    Candidate { name, id }
}

impl Candidate {
    /// What it shows, in nanoseconds.
    #[must_use]
    pub fn now_ns(self) -> i64 {
        nanoseconds(clock_gettime(self.id))
    }

    /// The step that the system claims for it, in nanoseconds.
    #[must_use]
    pub fn resolution_ns(self) -> u64 {
        nanoseconds(clock_getres(self.id)).unsigned_abs()
    }

    /// Whether stamps are of this clock.
    #[must_use]
    pub fn is_ours(self) -> bool {
        self.id == LINE
    }
}

fn nanoseconds(time: Timespec) -> i64 {
    let second_ns = SECOND_NS.cast_signed();
    time.tv_sec
        .saturating_mul(second_ns)
        .saturating_add(time.tv_nsec)
}

/// The identifier of the running boot. Where the kernel's cannot be read, as without `/proc`, it is one
/// that [is unknown](BootId::is_unknown), and another one at each call.
///
/// # Errors
/// The kernel's file is there and is not a UUID.
#[cfg(target_os = "linux")]
pub fn boot_id() -> Result<BootId> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    match read_small(PATH).as_deref() {
        // A file that a sandbox has masked is empty.
        None | Some([]) => Ok(BootId::unknown(SystemClock.wall_ns())),
        Some(text) => uuid(text).ok_or_else(|| crate::error::Error::found(PATH, "not a UUID")),
    }
}

/// The first bytes of one of the kernel's files, if it can be read.
#[cfg(target_os = "linux")]
fn read_small(path: &str) -> Option<Vec<u8>> {
    use rustix::fs::{Mode, OFlags, open};
    let file = open(path, OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let mut text = vec![0; 256];
    let length = rustix::io::read(&file, &mut text[..]).ok()?;
    text.truncate(length);
    Some(text)
}

/// What the time namespace of this process adds to the boot-time clock, in nanoseconds.
fn namespace_ns() -> i64 {
    #[cfg(target_os = "linux")]
    if let Some(text) = read_small("/proc/self/timens_offsets") {
        return boottime_offset(&text).unwrap_or(0);
    }
    0
}

/// The offset of the boot-time clock in a table of offsets; kernels before 5.7 give its number only.
#[cfg(target_os = "linux")]
fn boottime_offset(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words
            .next()
            .filter(|name| matches!(*name, "boottime" | "7"))?;
        let (tv_sec, tv_nsec) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(nanoseconds(Timespec { tv_sec, tv_nsec }))
    })
}

/// The bytes that 32 hexadecimal digits stand for, whatever is between them.
#[cfg(target_os = "linux")]
fn uuid(text: &[u8]) -> Option<BootId> {
    let mut digits = text
        .iter()
        .filter_map(|&byte| char::from(byte).to_digit(16));
    let mut id = BootId::default();
    for byte in &mut id.0 {
        *byte = u8::try_from(digits.next()? * 16 + digits.next()?).ok()?;
    }
    digits.next().is_none().then_some(id)
}

/// No boot identifier can be had here: it [is unknown](BootId::is_unknown), and another one at each call.
///
/// # Errors
/// None on this system.
#[cfg(not(target_os = "linux"))]
pub fn boot_id() -> Result<BootId> {
    Ok(BootId::unknown(SystemClock.wall_ns()))
}

/// A step of the wall clock from which on a [`Calendar`] follows it, in nanoseconds. Two readings that another
/// thread came between are less apart.
const STEP_NS_MIN: u64 = MILLISECOND_NS;
/// How far apart two readings may be that count as one, in nanoseconds.
const READING_NS_MAX: u64 = 20_000;
/// How often both clocks are read at the most for one anchor.
const READINGS_MAX: u32 = 8;

/// One pair of boot time and wall time for all answers: an instant that was given in one answer is the same
/// instant when it is asked about in another. A new pair is taken when the wall clock has been stepped.
#[derive(Clone, Debug)]
pub struct Calendar {
    held: Arc<Hands>,
}

impl Calendar {
    /// One with the pair `anchor`, which may be of an earlier process of this boot.
    #[must_use]
    pub fn new(anchor: Anchor) -> Self {
        let held = Hands::default();
        held.turn(|_, _| (anchor.at.ns(), anchor.wall_ns));
        Self {
            held: Arc::new(held),
        }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self, clock: &impl Clock) -> Anchor {
        let read = read_together(clock);
        let (at_ns, wall_ns) = self.held.read();
        let held = Anchor {
            at: Stamp::from_ns(at_ns),
            wall_ns,
        };
        let wall_ns = held.wall_at(read.at);
        if wall_ns.abs_diff(read.wall_ns) < STEP_NS_MIN {
            return Anchor { wall_ns, ..read };
        }
        self.held.turn(|_, _| (read.at.ns(), read.wall_ns));
        read
    }
}

/// Both clocks, read with as little between them as can be had.
fn read_together(clock: &impl Clock) -> Anchor {
    let mut best = (u64::MAX, clock.anchor());
    for _ in 0..READINGS_MAX {
        let (before, wall_ns, after) = (clock.now(), clock.wall_ns(), clock.now());
        let took_ns = after.since(before);
        if took_ns < best.0 {
            let at = before.after(took_ns / 2);
            best = (took_ns, Anchor { at, wall_ns });
        }
        if took_ns <= READING_NS_MAX {
            break;
        }
    }
    best.1
}

/// A clock moved by hand: for tests, and for anybody who replays a recorded line.
#[derive(Clone, Debug, Default)]
pub struct HandClock {
    hands: Arc<Hands>,
}

/// Both hands, in halves: small machines have no atomics of 64 bits. `moves` is odd while they move.
#[derive(Debug, Default)]
struct Hands {
    moves: AtomicU32,
    now_ns: [AtomicU32; 2],
    wall_ns: [AtomicU32; 2],
}

impl HandClock {
    /// A clock that shows `now` and `wall_ns` until it is moved.
    #[must_use]
    pub fn new(now: Stamp, wall_ns: i64) -> Self {
        let clock = Self::default();
        clock.hands.turn(|_, _| (now.ns(), wall_ns));
        clock
    }

    /// Lets `span_ns` pass on both clocks.
    pub fn advance(&self, span_ns: u64) {
        let span_ns = i64::try_from(span_ns).unwrap_or(i64::MAX);
        self.hands
            .turn(|now_ns, wall_ns| (now_ns.wrapping_add(span_ns), wall_ns.wrapping_add(span_ns)));
    }

    /// Sets the wall clock, as an administrator or NTP would.
    pub fn step_wall_to(&self, wall_ns: i64) {
        self.hands.turn(|now_ns, _| (now_ns, wall_ns));
    }
}

impl Hands {
    /// Both hands at one instant, in nanoseconds: now and wall.
    fn read(&self) -> (i64, i64) {
        loop {
            let moves = self.moves.load(Ordering::SeqCst);
            let shown = (whole(&self.now_ns), whole(&self.wall_ns));
            if moves.is_multiple_of(2) && moves == self.moves.load(Ordering::SeqCst) {
                return shown;
            }
            std::hint::spin_loop();
        }
    }

    /// Moves both hands at once; whoever else wants to waits.
    fn turn(&self, to: impl FnOnce(i64, i64) -> (i64, i64)) {
        let still = loop {
            let moves = self.moves.load(Ordering::SeqCst) & !1;
            let taken =
                self.moves
                    .compare_exchange(moves, moves + 1, Ordering::SeqCst, Ordering::SeqCst);
            if taken.is_ok() {
                break moves;
            }
            std::hint::spin_loop();
        };
        let (now_ns, wall_ns) = to(whole(&self.now_ns), whole(&self.wall_ns));
        halve(&self.now_ns, now_ns);
        halve(&self.wall_ns, wall_ns);
        self.moves.store(still.wrapping_add(2), Ordering::SeqCst);
    }
}

fn whole([high, low]: &[AtomicU32; 2]) -> i64 {
    let (high, low) = (high.load(Ordering::SeqCst), low.load(Ordering::SeqCst));
    (u64::from(high) << 32 | u64::from(low)).cast_signed()
}

fn halve([high, low]: &[AtomicU32; 2], ns: i64) {
    let bits = ns.cast_unsigned();
    high.store((bits >> 32) as u32, Ordering::SeqCst);
    low.store(bits as u32, Ordering::SeqCst);
}

impl Clock for HandClock {
    fn now(&self) -> Stamp {
        Stamp::from_ns(self.hands.read().0)
    }

    fn wall_ns(&self) -> i64 {
        self.hands.read().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_goes_back() {
        let readings: Vec<Stamp> = (0..10_000).map(|_| SystemClock.now()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn stamps_are_of_one_candidate_and_that_one_tells_the_same() {
        let ours: Vec<&Candidate> = CANDIDATES.iter().filter(|it| it.is_ours()).collect();
        assert_eq!(ours.len(), 1);
        let before = SystemClock.now().ns();
        let shown = ours[0].now_ns() - namespace_ns();
        assert!((before..=SystemClock.now().ns()).contains(&shown));
    }

    #[test]
    fn the_boot_id_is_the_same_at_every_reading() {
        let first = boot_id().expect("a boot id");
        assert_ne!(first, BootId::default());
        if cfg!(target_os = "linux") {
            assert_eq!(first, boot_id().expect("a boot id"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_offset_of_a_time_namespace_is_that_of_boot_time() {
        let table = |boottime: &str| {
            let text = format!("monotonic         -77         5\n{boottime}\n");
            boottime_offset(text.as_bytes())
        };
        assert_eq!(table("boottime            0         0"), Some(0));
        assert_eq!(
            table("boottime         3600        42"),
            Some(3_600_000_000_042)
        );
        // The part of a second is never negative.
        assert_eq!(
            table("boottime          -30 250000000"),
            Some(-29_750_000_000)
        );
        assert_eq!(table("7 -30 0"), Some(-30_000_000_000));
        for other in [
            "",
            "boottime",
            "boottime 5",
            "boottime five 0",
            "realtime 5 0",
        ] {
            assert_eq!(table(other), None, "{other}");
        }
        assert_eq!(boottime_offset(b"\xff"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_boot_id_is_what_its_32_digits_say_and_no_more_nor_less_are_one() {
        let text = b"01234567-89ab-cdef-fedc-ba9876543210\n";
        let id = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes();
        assert_eq!(uuid(text), Some(BootId(id)));
        assert_eq!(uuid(&text[1..]), None);
        assert_eq!(uuid(b"01234567-89ab-cdef-fedc-ba9876543210-0"), None);
        assert_eq!(uuid(b""), None);
    }

    #[test]
    fn the_wall_clock_tells_the_time_of_day() {
        let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let expected_ns = since_1970.expect("later than 1970").as_nanos();
        let shown_ns = u128::from(SystemClock.wall_ns().unsigned_abs());
        assert!(shown_ns.abs_diff(expected_ns) < u128::from(60 * SECOND_NS));
    }

    #[test]
    fn the_time_of_the_process_goes_on_while_it_works() {
        let before_ns = process_ns();
        assert!(before_ns > 1);
        while process_ns() - before_ns < 1000 {
            std::hint::spin_loop();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_coarse_clock_claims_a_larger_step_than_a_fine_one() {
        let claimed_ns = |name| {
            let found = CANDIDATES.iter().find(|it| it.name == name);
            found.expect("a candidate").resolution_ns()
        };
        let (fine_ns, coarse_ns) = (claimed_ns("monotonic"), claimed_ns("monotonic coarse"));
        assert!(fine_ns > 0 && fine_ns < coarse_ns, "{fine_ns} {coarse_ns}");
    }

    #[test]
    fn a_calendar_keeps_its_pair_until_the_wall_clock_is_stepped() {
        let clock = HandClock::new(Stamp::from_ns(7), 1_000_000_000);
        let calendar = Calendar::new(clock.anchor());
        clock.advance(50);
        clock.step_wall_to(1_000_000_050 + 900_000);
        // What two readings may be apart is no step.
        let wall_ns = |calendar: &Calendar| calendar.now(&clock).wall_ns;
        assert_eq!(wall_ns(&calendar), 1_000_000_050);
        for stepped_ns in [1_001_000_050, 3_600_000_000_000, -5] {
            clock.step_wall_to(stepped_ns);
            assert_eq!(wall_ns(&calendar), stepped_ns);
            assert_eq!(wall_ns(&calendar.clone()), stepped_ns);
        }
        let system = Calendar::new(SystemClock.anchor());
        let (first, second) = (system.now(&SystemClock), system.now(&SystemClock));
        assert_eq!(second.wall_at(first.at), first.wall_ns);
        assert!(second.at >= first.at);
    }

    #[test]
    fn a_wall_step_leaves_the_tally_timeline_alone() {
        let clock = HandClock::new(Stamp::from_ns(7), 100);
        clock.step_wall_to(-5);
        clock.advance(3);
        assert_eq!(
            clock.anchor(),
            Anchor {
                at: Stamp::from_ns(10),
                wall_ns: -2
            }
        );
    }

    #[test]
    fn a_clock_by_hand_is_never_read_half_moved() {
        // Each move carries from the lower half into the upper one of both hands.
        const STEP_NS: u64 = u32::MAX as u64;
        const STEPS: u64 = 20_000;
        let clock = HandClock::new(Stamp::from_ns(0), 0);
        let mover = std::thread::spawn({
            let clock = clock.clone();
            move || (0..STEPS).for_each(|_| clock.advance(STEP_NS))
        });
        let mut last = Stamp::from_ns(0);
        while !mover.is_finished() {
            let now = clock.now();
            assert!(
                now >= last && now.since(Stamp::from_ns(0)).is_multiple_of(STEP_NS),
                "{now}"
            );
            last = now;
        }
        mover.join().expect("the mover");
        assert_eq!(clock.now().ns().unsigned_abs(), STEP_NS * STEPS);
    }
}
