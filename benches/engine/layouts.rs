//! The record layout against its alternatives: what each takes, costs and loses, on the same hits.
//!
//! Owns the comparison. Hits come at random, as independent clients make them, at four rates. Each layout
//! writes a segment of them and reads it back; an instant is looked up as a window's head is; bits are
//! flipped, and ends torn off, as disks and crashes do.
//!
//! Must not know how a layout is coded. Invariant: every layout gives back every nanosecond of what it was
//! given, or the run ends.

mod codes;

use crate::{Outcome, Scale, table};
use codes::{LAYOUTS, Layout, Read};
use std::hint::black_box;

/// Hits of the segment that is written at each rate.
const HITS: usize = 100_000;
/// Hits a second.
const RATES: [u64; 4] = [1, 100, 10_000, 1_000_000];
/// The rate at which time is measured and damage is done.
const RATE: u64 = 10_000;
/// Look-ups of a round.
const LOOKUPS: u64 = 200;
/// Damaged copies, of each kind.
const TRIALS: u64 = 300;
/// Hits of a copy that is damaged: one that is read wholly for each trial.
const DAMAGED_HITS: usize = 4_096;

/// Writes the section.
pub fn measure(scale: Scale) -> Outcome<()> {
    table::section(&format!(
        "layouts: {HITS} hits at random intervals; times and damage at {RATE} hits/s"
    ));
    for rate in RATES {
        let hits = hits(rate, HITS);
        for layout in &LAYOUTS {
            let bytes = (layout.encode)(&hits);
            if (layout.decode)(&bytes).hits != known(&hits) {
                return Err(format!("{} does not give back its hits", layout.name).into());
            }
            let name = format!("{}, at {rate} hits/s", layout.name);
            let each = bytes.len() as f64 / HITS as f64;
            table::figure(&name, "bytes/hit", vec![each], None);
        }
    }
    let hits = hits(RATE, HITS);
    for layout in &LAYOUTS {
        time(scale, layout, &hits)?;
    }
    let hits = &hits[..DAMAGED_HITS];
    for layout in &LAYOUTS {
        damage(layout, hits);
    }
    Ok(())
}

fn time(scale: Scale, layout: &Layout, hits: &[u64]) -> Outcome<()> {
    let name = layout.name;
    let bytes = (layout.encode)(hits);
    let rounds = |work: &mut dyn FnMut()| -> Vec<f64> {
        (0..scale.rounds)
            .map(|_| table::timed(&mut *work).0)
            .collect()
    };
    let each = |rounds: Vec<f64>, count: usize| -> Vec<f64> {
        rounds.into_iter().map(|ns| ns / count as f64).collect()
    };
    let encode = rounds(&mut || {
        black_box((layout.encode)(black_box(hits)));
    });
    table::figure(
        &format!("{name}, encode"),
        "ns/hit",
        each(encode, HITS),
        None,
    );
    let decode = rounds(&mut || {
        black_box((layout.decode)(black_box(&bytes)));
    });
    table::figure(
        &format!("{name}, check and decode"),
        "ns/hit",
        each(decode, HITS),
        None,
    );
    let mut chance = Chance(7);
    let mut wrong = None;
    let find = rounds(&mut || {
        for _ in 0..LOOKUPS {
            let at = hits[chance.below(HITS as u64) as usize];
            let found = (layout.find)(black_box(&bytes), at);
            let expected = hits.partition_point(|&hit| hit <= at);
            if found != expected {
                wrong = Some(format!("{name} finds {found}, not {expected}"));
            }
        }
    });
    let find = each(find, LOOKUPS as usize * 1_000);
    table::figure(&format!("{name}, position of an instant"), "us", find, None);
    wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
}

/// What flipped bits and torn ends do: how often nothing tells of it, and how many hits it costs.
fn damage(layout: &Layout, hits: &[u64]) {
    let sound = (layout.encode)(hits);
    let mut chance = Chance(11);
    let (mut unseen, mut lost) = (0_u64, 0_u64);
    for _ in 0..TRIALS {
        let mut bytes = sound.clone();
        let bit = chance.below(bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        let read = (layout.decode)(&bytes);
        let (right, wrong) = compared(&read, hits);
        lost += (hits.len() - right) as u64;
        unseen += u64::from(wrong > 0 && !read.complains);
    }
    let share = |count: u64| vec![100.0 * count as f64 / TRIALS as f64];
    let name = layout.name;
    table::figure(
        &format!("{name}, flipped bits unseen"),
        "%",
        share(unseen),
        None,
    );
    let mean = vec![lost as f64 / TRIALS as f64];
    table::figure(
        &format!("{name}, hits a flipped bit costs"),
        "hits",
        mean,
        None,
    );
    // A crash leaves the length of the file and zeros, or what was there before, in place of the newest.
    let mut unseen = 0_u64;
    for _ in 0..TRIALS {
        let mut bytes = sound.clone();
        let from = bytes.len() - 1 - chance.below(512) as usize;
        for byte in &mut bytes[from..] {
            *byte = chance.below(256) as u8;
        }
        let read = (layout.decode)(&bytes);
        let (_, wrong) = compared(&read, hits);
        unseen += u64::from(wrong > 0);
    }
    table::figure(
        &format!("{name}, torn ends with a false hit"),
        "%",
        share(unseen),
        None,
    );
}

/// Hits that were read as they are, and hits that were read as something else.
fn compared(read: &Read, hits: &[u64]) -> (usize, usize) {
    let pairs = || read.hits.iter().zip(hits);
    let right = pairs().filter(|(read, hit)| **read == Some(**hit)).count();
    let wrong = pairs().filter(|(read, hit)| read.is_some_and(|read| read != **hit));
    let invented = read.hits.len().saturating_sub(hits.len());
    (right, wrong.count() + invented)
}

fn known(hits: &[u64]) -> Vec<Option<u64>> {
    hits.iter().copied().map(Some).collect()
}

/// `count` stamps in nanoseconds, `rate` a second on average and independent of each other.
fn hits(rate: u64, count: usize) -> Vec<u64> {
    let mut chance = Chance(rate);
    let mut at_ns = 1_000_000_000_000;
    (0..count)
        .map(|_| {
            let share = (chance.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
            at_ns += (-share.ln() * 1e9 / rate as f64) as u64;
            at_ns
        })
        .collect()
}

/// Numbers that look like chance and are the same in every run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
