//! Any bytes in any pieces: the conversation never panics, and the pieces make no difference.
//!
//! Owns how the fuzzer's bytes are read: one for the limits, one for the room, one for how many cuts
//! there are, one for each cut, and what is said. What must hold for every telling is asserted in
//! `tests/support/talking.rs`.
//!
//! Must not know what is right. Invariant: the whole, the cut and the bytes one by one are told the same.

#![no_main]

#[path = "../../tests/support/talking.rs"]
mod talking;

use libfuzzer_sys::fuzz_target;
use talking::tell;
use tallyd::front::pool::limits::Limits;

/// Some limits that are met soon, and some that are met late.
const LIMITS: [(usize, usize, u64); 4] = [(4096, 100, 1 << 20), (120, 4, 20), (48, 2, 3), (200, 3, 0)];

fuzz_target!(|input: &[u8]| {
    let [limits, room, cut_count, rest @ ..] = input else {
        return;
    };
    let (head_bytes_max, headers_max, body_bytes_max) = LIMITS[usize::from(*limits) % LIMITS.len()];
    let limits = Limits {
        head_bytes_max,
        headers_max,
        body_bytes_max,
        ..Limits::DEFAULT
    };
    let room = 1 + usize::from(*room % 64);
    let (cuts, said) = rest.split_at(rest.len().min(usize::from(*cut_count % 16)));
    let mut pieces = Vec::new();
    let mut left = said;
    for &cut in cuts {
        let (piece, behind) = left.split_at(left.len().min(usize::from(cut)));
        pieces.push(piece);
        left = behind;
    }
    pieces.push(left);
    let whole = tell([said], &limits, 64);
    assert_eq!(tell(pieces, &limits, room), whole);
    assert_eq!(tell(said.chunks(1), &limits, room), whole);
});
