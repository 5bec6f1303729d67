//! When servers ran on a data directory: one line a process life in the file `lives`.
//!
//! Owns the list, its text and what follows from it. A life is noted when it starts and, after a clean
//! stop, when it ended and how many hits the journal had then; so a time when no server ran is told from a
//! time without hits, and a journal that ends before what the last life had counted is noticed. Where a life
//! was killed, its end is taken to be the newest record, or its start. A life also notes until when damage that its
//! start found leaves numbers in doubt: the next start may find no trace of it.
//!
//! The text is a head line and a line for each life, oldest first, each with a check at its end:
//!
//! ```text
//! tallyd lives 1 BIRTH CHECK
//! BOOT running|stopped|killed START_NS START_WALL_NS START_HITS [END_NS END_WALL_NS END_HITS] [DOUBT_NS] CHECK
//! ```
//!
//! BIRTH is the birth time of the file itself, in ns since 1970, or 0 if the file system has none. No copy
//! has it, so a directory that was copied or restored is noticed too. A file that is missing or corrupt is
//! begun anew: what is not known is not claimed.
//!
//! Must not know of segments. Invariant: nothing here keeps a server from starting.

mod file;

use crate::notation::many;
use crate::stamp::{Anchor, BootId, Stamp};
use file::ListFile;
use std::fmt::Write;
use std::path::Path;

/// The most lives that are remembered.
pub const LIVES_MAX: usize = 256;

const HEAD: &str = "tallyd lives 1";

/// An instant of a life, and the lifetime count of hits then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    at: Anchor,
    count: u64,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has not, as far as the file knows.
    Running,
    /// By a clean stop.
    Stopped(Mark),
    /// In some other way, at some time after the mark.
    Killed(Mark),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    boot: BootId,
    start: Mark,
    end: End,
    /// Hits at or before this instant may be lost or counted wrongly, by what its start found.
    doubtful_until: Option<Stamp>,
}

/// The lives of a data directory, the present one included once it has begun.
#[derive(Debug)]
pub struct Lives {
    boot: BootId,
    list: Vec<Life>,
    file: Result<ListFile, String>,
    /// Whether the file is not the one that a server has written.
    is_copy: bool,
    /// Whether a failure to write it was logged.
    is_reported: bool,
}

/// A time when no server ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it began.
    pub from: Stamp,
    /// When a server ran again.
    pub to: Stamp,
    /// Whether it began with the last hit of a server that was killed later.
    pub since_last_hit: bool,
}

/// All times when no server ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Oldest first.
    pub list: Vec<Gap>,
    /// Before this instant it is not known when a server ran.
    pub known_from: Stamp,
}

impl Lives {
    /// Reads the list in `directory`, which this process has locked.
    #[must_use]
    pub fn open(directory: &Path, boot: BootId) -> Self {
        let (lives, corrupt) = Self::read(directory, boot);
        if let Some(cause) = corrupt {
            log::warn!("{cause}; it is not known when servers ran before");
        }
        lives
    }

    /// Reads the list in `directory`, which may be another process's; and why it cannot be used, if so.
    #[must_use]
    pub fn read(directory: &Path, boot: BootId) -> (Self, Option<String>) {
        let file = ListFile::at(directory);
        let mut lives = Self {
            boot,
            list: Vec::new(),
            file,
            is_copy: false,
            is_reported: false,
        };
        let corrupt = match lives.file.as_ref().map(ListFile::read) {
            Ok(Ok(None)) | Err(_) => None,
            Ok(Ok(Some((text, birth_ns)))) => match parse(&text) {
                Ok((list, written_ns)) => {
                    lives.list = list;
                    lives.is_copy = birth_ns != 0 && written_ns != 0 && birth_ns != written_ns;
                    None
                }
                Err(cause) => Some(cause),
            },
            Ok(Err(cause)) => Some(cause),
        };
        let path = lives.file.as_ref().map_or("lives", ListFile::shown);
        let corrupt = corrupt.map(|cause| format!("{path}: {cause}"));
        (lives, corrupt)
    }

    /// Until when numbers are in doubt by what earlier starts have found; [`Stamp::MIN`] if there is no doubt.
    #[must_use]
    pub fn doubtful_until(&self, now: Anchor) -> Stamp {
        let doubts = self.list.iter().filter_map(|life| {
            let at = life.doubtful_until?;
            let wall_ns = life.start.at.wall_at(at);
            Some(place(life.boot, Anchor { at, wall_ns }, self.boot, now))
        });
        doubts.max().unwrap_or(Stamp::MIN)
    }

    /// Notes that hits at or before `stamp` may be lost or counted wrongly.
    pub fn doubt_until(&mut self, stamp: Stamp) {
        if let Some(last) = self.list.last_mut().filter(|_| stamp > Stamp::MIN) {
            last.doubtful_until = last.doubtful_until.max(Some(stamp));
        }
    }

    /// Where the journal had fewer hits at a start than the life before had counted: when that start was, and
    /// what it found.
    #[must_use]
    pub fn losses(&self, now: Anchor) -> Vec<(Stamp, String)> {
        let pairs = self.list.iter().zip(self.list.iter().skip(1));
        let losses = pairs.filter_map(|(before, life)| {
            let cause = missing(before.known_count(), life.start.count)?;
            Some((place(life.boot, life.start.at, self.boot, now), cause))
        });
        losses.collect()
    }

    /// What is missing in a journal that ends at `end` hits, by what the last life had counted.
    #[must_use]
    pub fn missing(&self, end: u64) -> Option<String> {
        missing(self.list.last()?.known_count(), end)
    }

    /// The pair of boot time and wall time of the last life, if it was of this boot.
    #[must_use]
    pub fn anchor(&self) -> Option<Anchor> {
        let last = self.list.last()?;
        (last.boot == self.boot).then_some(last.start.at)
    }

    /// Adds the present life, which begins at `now` with `count` hits in the journal, the newest of them at
    /// `newest`; what makes it doubtful that these are all.
    pub fn begin(&mut self, now: Anchor, count: u64, newest: Option<Stamp>) -> Option<String> {
        let mut doubt = self.is_copy.then(|| {
            format!(
                "the data directory was copied or restored: it has {}, and what servers counted \
                 after the copy was made is missing",
                many(count, "hit")
            )
        });
        doubt = self.missing(count).or(doubt);
        if let Some(last) = self.list.last_mut() {
            let from = place(last.boot, last.start.at, self.boot, now);
            let newest = newest.unwrap_or(from).clamp(from, now.at.max(from));
            let wall_ns = now.wall_at(newest);
            let at = if last.boot == self.boot {
                newest
            } else {
                last.start.at.stamp_at(wall_ns)
            };
            let mark = Mark {
                at: Anchor { at, wall_ns },
                count,
            };
            match last.end {
                End::Running => last.end = End::Killed(mark),
                // Somebody else has counted since, who has left no line.
                End::Stopped(known) if known.count < count => last.end = End::Killed(mark),
                End::Stopped(_) | End::Killed(_) => {}
            }
        }
        self.list.push(Life {
            boot: self.boot,
            start: Mark { at: now, count },
            end: End::Running,
            doubtful_until: None,
        });
        let surplus = self.list.len().saturating_sub(LIVES_MAX);
        self.list.drain(..surplus);
        doubt
    }

    /// Ends the present life by a clean stop.
    pub fn end(&mut self, now: Anchor, count: u64) {
        if let Some(last) = self.list.last_mut() {
            last.end = End::Stopped(Mark { at: now, count });
        }
    }

    /// When no server ran before the present life, on the line of this boot, which is at `now`.
    #[must_use]
    pub fn gaps(&self, now: Anchor) -> Gaps {
        let mut gaps = Gaps {
            list: Vec::new(),
            known_from: now.at,
        };
        let mut next = None;
        for life in self.list.iter().rev() {
            let on_line = |at| place(life.boot, at, self.boot, now);
            let mut start = on_line(life.start.at);
            if let Some(next) = next {
                let (end, since_last_hit) = match life.end {
                    End::Running => (start, true),
                    End::Stopped(mark) => (on_line(mark.at), false),
                    End::Killed(mark) => (on_line(mark.at), true),
                };
                // Where the wall clock was stepped, a life does not end after its successor began.
                let end = end.min(next);
                start = start.min(end);
                if end < next {
                    gaps.list.push(Gap {
                        from: end,
                        to: next,
                        since_last_hit,
                    });
                }
            }
            next = Some(start);
        }
        if let Some(first) = next {
            gaps.known_from = first;
            // Before the first server of a journal there was none.
            if self.list[0].start.count == 0 && self.list.len() < LIVES_MAX {
                let gap = Gap {
                    from: Stamp::MIN,
                    to: first,
                    since_last_hit: false,
                };
                gaps.list.push(gap);
                gaps.known_from = Stamp::MIN;
            }
        }
        gaps.list.reverse();
        gaps
    }

    /// Writes the list to the device. That it succeeds is no promise: the first failure is logged.
    pub fn write(&mut self) {
        let written = self.file.as_ref().map_err(Clone::clone);
        let written = written.and_then(|file| file.replace(|birth_ns| text(&self.list, birth_ns)));
        if let Err(cause) = written
            && !std::mem::replace(&mut self.is_reported, true)
        {
            log::warn!("{cause}; it will not be known that this server ran");
        }
    }
}

/// What is missing in a journal that ended at `end` hits when a server before had counted `known`.
fn missing(known: u64, end: u64) -> Option<String> {
    (known > end).then(|| {
        let missing = known - end;
        let verb = if missing == 1 { "is" } else { "are" };
        format!(
            "the journal ends at {}, and the last server had counted {known}: {missing} {verb} \
             missing; an older copy was restored, or segments were lost",
            many(end, "hit")
        )
    })
}

impl Life {
    /// How many hits the journal had when it was last noted.
    const fn known_count(&self) -> u64 {
        match self.end {
            End::Running => self.start.count,
            End::Stopped(mark) | End::Killed(mark) => mark.count,
        }
    }
}

/// An instant of a life in `boot` on the line of the boot `ours`, which is at `now`.
fn place(boot: BootId, at: Anchor, ours: BootId, now: Anchor) -> Stamp {
    let placed = if boot == ours && at.at <= now.at {
        at.at
    } else {
        now.stamp_at(at.wall_ns)
    };
    placed.min(now.at)
}

fn text(list: &[Life], birth_ns: i64) -> String {
    let mut text = checked(format!("{HEAD} {birth_ns}"));
    for life in list {
        let Life {
            boot, start, end, ..
        } = life;
        let (word, mark) = match end {
            End::Running => ("running", None),
            End::Stopped(mark) => ("stopped", Some(mark)),
            End::Killed(mark) => ("killed", Some(mark)),
        };
        let mut line = format!("{:032x} {word}", u128::from_be_bytes(boot.0));
        for Mark { at, count } in [Some(start), mark].into_iter().flatten() {
            let _infallible = write!(line, " {} {} {count}", at.at.ns(), at.wall_ns);
        }
        if let Some(until) = life.doubtful_until {
            let _infallible = write!(line, " {}", until.ns());
        }
        text.push_str(&checked(line));
    }
    text
}

/// A line with its check.
fn checked(line: String) -> String {
    let check = check(&line);
    line + &format!(" {check:016x}\n")
}

/// FNV-1a: a torn or altered line does not pass for another.
fn check(line: &str) -> u64 {
    line.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The lives in a text, and the birth time it gives for its file.
fn parse(text: &str) -> Result<(Vec<Life>, i64), String> {
    let (mut list, mut birth_ns) = (Vec::new(), None);
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let sound = line
            .strip_suffix('\n')
            .and_then(|line| line.rsplit_once(' '));
        let sound = sound.filter(|(line, found)| format!("{:016x}", check(line)) == *found);
        let Some((line, _)) = sound else {
            return Err(format!("line {number}: checksum mismatch"));
        };
        if birth_ns.is_none() {
            let birth = line
                .strip_prefix(HEAD)
                .and_then(|birth| birth.trim().parse().ok());
            birth_ns = Some(birth.ok_or("line 1: not a list of lives that this tallyd knows")?);
        } else {
            list.push(parse_life(line).ok_or_else(|| format!("line {number}: not a life"))?);
        }
    }
    if list.len() > LIVES_MAX {
        return Err(format!(
            "{} lives, at most {LIVES_MAX} are allowed",
            list.len()
        ));
    }
    Ok((list, birth_ns.ok_or("the file is empty")?))
}

fn parse_life(line: &str) -> Option<Life> {
    let mut words = line.split(' ');
    let boot = BootId(u128::from_str_radix(words.next()?, 16).ok()?.to_be_bytes());
    let word = words.next()?;
    let mut mark = || {
        let at = Stamp::from_ns(words.next()?.parse().ok()?);
        let wall_ns = words.next()?.parse().ok()?;
        let count = words.next()?.parse().ok()?;
        Some(Mark {
            at: Anchor { at, wall_ns },
            count,
        })
    };
    let start = mark()?;
    let end = match word {
        "running" => End::Running,
        "stopped" => End::Stopped(mark()?),
        "killed" => End::Killed(mark()?),
        _ => return None,
    };
    let doubtful_until = match words.next() {
        Some(until) => Some(Stamp::from_ns(until.parse().ok()?)),
        None => None,
    };
    words.next().is_none().then_some(Life {
        boot,
        start,
        end,
        doubtful_until,
    })
}

#[cfg(test)]
mod tests;
