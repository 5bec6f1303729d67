//! Heads by chance: no bytes panic, and no verdict depends on the cut.
//!
//! Owns the mutations. The seeds are fixed, so that a failure comes back; a failed check names its own.
//!
//! Must not know which head has which verdict. Invariant: equal seeds draw equal heads.

use super::cases::GOOD;
use super::*;

/// Numbers by chance, from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }

    /// A head with a few bytes replaced, inserted, removed, repeated or taken from another head.
    fn mutate(&mut self, head: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let place = self.below(head.len().max(1)).min(head.len());
            let byte = match self.below(3) {
                0 => b"\r\n\t :,;\0/.HTP0129chunkedx"[self.below(25)],
                _ => self.below(256) as u8,
            };
            match self.below(6) {
                0 if place < head.len() => head[place] = byte,
                1 if place < head.len() => drop(head.remove(place)),
                2 => head.insert(place, byte),
                3 => head.truncate(place),
                4 => {
                    let end = (place + self.below(30)).min(head.len());
                    let piece = head[place..end].to_vec();
                    let at = self.below(head.len() + 1);
                    drop(head.splice(at..at, piece));
                }
                _ => {
                    let other = GOOD[self.below(GOOD.len())].0;
                    let from = self.below(other.len());
                    let end = (from + self.below(40)).min(other.len());
                    drop(head.splice(place..place, other[from..end].iter().copied()));
                }
            }
        }
    }
}

#[test]
fn mutated_heads_never_panic_and_their_verdict_is_final() {
    let small = HeadLimits {
        head_bytes_max: 60,
        target_bytes_max: 12,
        headers_max: 100,
    };
    let mut verdicts = [0u32; 3];
    let mut chance = Chance(0);
    let mut note = String::new();
    for round in 0..200_000u64 {
        // A seed has so many heads that a failure is found again soon, and few enough to read.
        if round % 1_000 == 0 {
            let seed = round / 1_000;
            (chance, note) = (Chance(seed), format!("seed {seed}"));
        }
        let mut head = GOOD[chance.below(GOOD.len())].0.to_vec();
        chance.mutate(&mut head);
        let limits = if chance.below(4) == 0 {
            &small
        } else {
            &LIMITS
        };
        let cuts = [(); 4].map(|()| chance.below(head.len() + 1));
        assert_final(&head, limits, cuts.into_iter(), &note);
        match parse(&head, limits) {
            Head::Partial => verdicts[0] += 1,
            Head::Complete { request, bytes } => {
                assert!(bytes <= head.len().min(limits.head_bytes_max), "{note}");
                assert!(request.target.len() <= limits.target_bytes_max, "{note}");
                let again = parse(&head[..bytes], limits);
                assert_eq!(again, Head::Complete { request, bytes }, "{note}");
                verdicts[1] += 1;
            }
            Head::Refused(_) => verdicts[2] += 1,
        }
    }
    let least = *verdicts.iter().min().expect("three");
    assert!(least > 2_000, "{note}: every verdict is met: {verdicts:?}");
}

#[test]
fn bytes_by_chance_never_panic() {
    let mut chance = Chance(7);
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..chance.below(80))
            .map(|_| chance.below(256) as u8)
            .collect();
        assert_final(&bytes, &LIMITS, 0..bytes.len(), "seed 7");
    }
}
