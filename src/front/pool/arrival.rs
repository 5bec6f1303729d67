//! When bytes came to the kernel: its own stamps, brought onto the tally timeline.
//!
//! Owns reading a socket together with the kernel's stamp of what was read. That stamp is of the wall
//! clock, which runs at the rate of the boot-time clock: what lies between the two changes only when the
//! wall clock is stepped. It is looked at before every pass, and once it has changed, no stamp from before
//! is used any more. The kernel stamps what it hands over in one read once, as of the last of its bytes.
//!
//! Must not know what the bytes say. Invariant: a stamp that is placed here is never later than the return
//! of the read, and never earlier than the arrival by more than three times [`APART_NS_MAX`], 6 µs; a
//! wall clock that is stepped there and back between two passes is not seen.

use crate::clock::Clock;
use crate::stamp::{Anchor, Stamp};
use mio::net::TcpStream;
use std::io;
use std::net::TcpListener;

/// How far apart the readings of one look at both clocks may be, in nanoseconds. Two looks may so differ
/// by twice that without a step between them, and the first is what stamps are placed by.
const APART_NS_MAX: u64 = 2_000;
/// How often both clocks are read when the thread loses its processor in between.
const LOOKS_MAX: u32 = 3;

/// What places the kernel's stamps: the wall clock beside the tally timeline, as far as it was watched.
pub struct Arrivals {
    /// A good look at both clocks, since when there was no step.
    anchor: Option<Anchor>,
    /// What came before is not placed.
    since: Stamp,
    /// Whether the last look was a good one: without it, a step may hide.
    is_watched: bool,
}

impl Arrivals {
    /// The clocks have not been looked at yet.
    pub const fn new() -> Self {
        Self {
            anchor: None,
            since: Stamp::MAX,
            is_watched: false,
        }
    }

    /// Looks at both clocks.
    pub fn watch(&mut self, clock: &impl Clock) {
        let look = (0..LOOKS_MAX).find_map(|_| {
            let anchor = clock.anchor();
            let now = clock.now();
            (now.since(anchor.at) <= APART_NS_MAX).then_some((anchor, now))
        });
        self.is_watched = look.is_some();
        let Some((anchor, now)) = look else {
            return;
        };
        let is_steady =
            |before: Anchor| before.wall_at(anchor.at).abs_diff(anchor.wall_ns) <= 2 * APART_NS_MAX;
        if !self.anchor.is_some_and(is_steady) {
            self.anchor = Some(anchor);
            self.since = now;
        }
    }

    /// The stamp of bytes that the kernel stamped at `wall_ns` and whose read returned at `read_at`.
    pub fn place(&self, wall_ns: i64, read_at: Stamp) -> Stamp {
        self.anchor
            .filter(|_| self.is_watched)
            .map(|anchor| anchor.stamp_at(wall_ns))
            .filter(|arrival| (self.since..=read_at).contains(arrival))
            .unwrap_or(read_at)
    }
}

/// Has the kernel stamp what arrives at every connection of `listener`, or stop that.
///
/// # Errors
/// There are no such stamps here.
#[cfg(target_os = "linux")]
pub fn ask_for(listener: &TcpListener, wanted: bool) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};
    match setsockopt(listener, ReceiveTimestampns, &wanted) {
        // Where there are none, as in some sandboxes, there is nothing to stop.
        Err(Errno::ENOPROTOOPT) if !wanted => Ok(()),
        asked => asked.map_err(io::Error::from),
    }
}

/// Reads once; how many bytes, and when on the wall clock the last of them came, if the kernel says.
///
/// # Errors
/// As for reading.
#[cfg(target_os = "linux")]
pub fn read_stamped(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Option<i64>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    /// Room for one message of 16 bytes behind its head, placed as the kernel wants it.
    #[repr(align(16))]
    struct Room([u8; 64]);

    let mut room = Room([0; 64]);
    let mut parts = [IoSliceMut::new(buffer)];
    let read = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut parts,
        Some(&mut room.0),
        MsgFlags::empty(),
    )?;
    let mut messages = read.cmsgs()?;
    let wall_ns = messages.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(at) => {
            i64::try_from(Duration::from(at).as_nanos()).ok()
        }
        _ => None,
    });
    Ok((read.bytes, wall_ns))
}

/// Elsewhere there are no such stamps.
///
/// # Errors
/// They are wanted.
#[cfg(not(target_os = "linux"))]
pub fn ask_for(_listener: &TcpListener, wanted: bool) -> io::Result<()> {
    match wanted {
        true => Err(io::ErrorKind::Unsupported.into()),
        false => Ok(()),
    }
}

/// Reads once, without a stamp.
///
/// # Errors
/// As for reading.
#[cfg(not(target_os = "linux"))]
pub fn read_stamped(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Option<i64>)> {
    use std::io::Read;
    (&*stream).read(buffer).map(|read| (read, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HandClock;
    use crate::stamp::SECOND_NS;

    const WALL_NS: i64 = 1_000_000_000_000;
    const LAG_NS: u64 = 40_000;

    /// Clocks that were watched a second ago, and again now.
    fn watched() -> (HandClock, Arrivals) {
        let clock = HandClock::new(Stamp::from_ns(5_000), WALL_NS);
        let mut arrivals = Arrivals::new();
        arrivals.watch(&clock);
        clock.advance(SECOND_NS);
        arrivals.watch(&clock);
        (clock, arrivals)
    }

    #[test]
    fn bytes_have_the_stamp_of_their_arrival() {
        let (clock, arrivals) = watched();
        let (came_at, wall_ns) = (clock.now(), clock.wall_ns());
        clock.advance(LAG_NS);
        assert_eq!(arrivals.place(wall_ns, clock.now()), came_at);
    }

    #[test]
    fn what_came_before_the_clocks_were_watched_has_the_stamp_of_its_read() {
        let clock = HandClock::new(Stamp::from_ns(5_000), WALL_NS);
        let wall_ns = clock.wall_ns();
        let mut arrivals = Arrivals::new();
        assert_eq!(arrivals.place(wall_ns, clock.now()), clock.now());
        clock.advance(LAG_NS);
        arrivals.watch(&clock);
        assert_eq!(arrivals.place(wall_ns, clock.now()), clock.now());
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_no_stamp_out_of_the_time_between_arrival_and_read() {
        for step_ns in [
            -86_400_000_000_000,
            -30_000,
            -5_000,
            5_000,
            30_000,
            86_400_000_000_000,
        ] {
            let (clock, mut arrivals) = watched();
            let (came_at, wall_ns) = (clock.now(), clock.wall_ns());
            clock.advance(LAG_NS / 2);
            clock.step_wall_to(clock.wall_ns() + step_ns);
            clock.advance(LAG_NS / 2);
            arrivals.watch(&clock);
            clock.advance(LAG_NS);
            let placed = arrivals.place(wall_ns, clock.now());
            assert!(
                (came_at..=clock.now()).contains(&placed),
                "{step_ns} {placed}"
            );
            // What comes from now on is placed by the clocks as they are.
            let (came_at, wall_ns) = (clock.now(), clock.wall_ns());
            clock.advance(LAG_NS);
            arrivals.watch(&clock);
            assert_eq!(arrivals.place(wall_ns, clock.now()), came_at, "{step_ns}");
        }
    }

    #[test]
    fn a_stamp_from_the_future_is_not_believed() {
        let (clock, arrivals) = watched();
        let wall_ns = clock.wall_ns() + 1;
        assert_eq!(arrivals.place(wall_ns, clock.now()), clock.now());
    }

    /// A clock whose readings lie so far apart.
    #[derive(Clone)]
    struct Slow(HandClock, u64);

    impl Clock for Slow {
        fn now(&self) -> Stamp {
            self.0.advance(self.1);
            self.0.now()
        }

        fn wall_ns(&self) -> i64 {
            self.0.wall_ns()
        }
    }

    #[test]
    fn clocks_that_cannot_be_read_together_place_nothing_until_they_can() {
        let (clock, mut arrivals) = watched();
        for (apart_ns, is_placed) in [
            (APART_NS_MAX, true),
            (APART_NS_MAX + 1, false),
            (APART_NS_MAX, true),
        ] {
            let wall_ns = clock.wall_ns();
            arrivals.watch(&Slow(clock.clone(), apart_ns));
            clock.advance(LAG_NS);
            let placed = arrivals.place(wall_ns, clock.now());
            assert_eq!(placed < clock.now(), is_placed, "{apart_ns}");
        }
    }
}
