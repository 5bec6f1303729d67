//! What a record costs by itself: its bytes, and the nanoseconds to encode and to check it.
//!
//! Owns a buffer of a turn's length, which stays in the cache as it does in the funnel.
//!
//! Must not know the format. Invariant: what was encoded decodes to the same offset.

use crate::{Scale, table};
use std::hint::black_box;
use tallyd::journal::TURN_HITS_MAX;
use tallyd::journal::record::{self, Key, RECORD_BYTES};

/// Turns of one round.
const TURNS: u64 = 100;

/// Writes the section.
pub fn measure(scale: Scale) {
    table::section("records: one stamp, by itself");
    let size = vec![RECORD_BYTES as f64];
    table::figure("a record on disk", "bytes", size, Some(8.0));
    let key = Key::of(7);
    let first = 1_000_000_007;
    let mut bytes = vec![0_u8; TURN_HITS_MAX * RECORD_BYTES];
    let mut rounds = |work: &mut dyn FnMut(&mut [u8])| -> Vec<f64> {
        (0..scale.rounds)
            .map(|_| {
                let (ns, ()) =
                    table::timed(|| (0..TURNS).for_each(|_| work(black_box(&mut bytes))));
                ns / (TURNS * TURN_HITS_MAX as u64) as f64
            })
            .collect()
    };
    let encode = rounds(&mut |bytes| {
        for (offset_ns, slot) in (first..).zip(bytes.chunks_exact_mut(RECORD_BYTES)) {
            slot.copy_from_slice(&record::encode(offset_ns, key));
        }
    });
    let decode = rounds(&mut |bytes| {
        for (offset_ns, slot) in (first..).zip(bytes.chunks_exact(RECORD_BYTES)) {
            assert_eq!(record::decode(slot, key), Some(offset_ns));
        }
    });
    table::figure("encode", "ns/record", encode, Some(2.0));
    table::figure("check and decode", "ns/record", decode, Some(2.0));
}
