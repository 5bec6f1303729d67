//! Five ways to write ascending stamps: tallyd's record, and what else was thought of.
//!
//! Owns the alternatives, each as good as its idea allows: a block carries a check and can be found by
//! itself, and what has no blocks carries nothing.
//!
//! Must not know what is measured. Invariant: `decode` and `find` never panic, whatever the bytes.

use crc::{CRC_32_ISCSI, Crc};
use tallyd::journal::record::{self, Key, RECORD_BYTES};

/// What was read.
pub struct Read {
    /// Each place, with its stamp if it can be told.
    pub hits: Vec<Option<u64>>,
    /// Whether anything was noticed.
    pub complains: bool,
}

/// One way.
pub struct Layout {
    /// Its name in the table.
    pub name: &'static str,
    /// Stamps to bytes.
    pub encode: fn(&[u64]) -> Vec<u8>,
    /// And back.
    pub decode: fn(&[u8]) -> Read,
    /// How many stamps are at or before this one, in sound bytes.
    pub find: fn(&[u8], u64) -> usize,
}

/// All of them.
pub const LAYOUTS: [Layout; 5] = [
    Layout {
        name: "tallyd, 48 + 16 bits",
        encode: records::encode,
        decode: records::decode,
        find: records::find,
    },
    Layout {
        name: "u64",
        encode: plain::encode,
        decode: plain::decode,
        find: plain::find,
    },
    Layout {
        name: "u32 in blocks",
        encode: blocks::encode,
        decode: blocks::decode,
        find: blocks::find,
    },
    Layout {
        name: "varint",
        encode: varint::encode,
        decode: varint::decode,
        find: |bytes, at| scanned(&varint::decode(bytes), at),
    },
    Layout {
        name: "delta-of-delta",
        encode: second::encode,
        decode: second::decode,
        find: |bytes, at| scanned(&second::decode(bytes), at),
    },
];

/// Where every stamp is told by the one before, all have to be read.
fn scanned(read: &Read, at: u64) -> usize {
    read.hits
        .partition_point(|hit| hit.is_some_and(|hit| hit <= at))
}

/// The first of `count` places whose stamp is behind `at`.
fn search(count: usize, at: u64, stamp: impl Fn(usize) -> u64) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if stamp(middle) <= at {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let word = bytes.get(offset..offset + 8);
    word.map_or(0, |word| {
        u64::from_be_bytes(word.try_into().expect("eight"))
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let word = bytes.get(offset..offset + 4);
    word.map_or(0, |word| u32::from_be_bytes(word.try_into().expect("four")))
}

mod records {
    use super::{Key, RECORD_BYTES, Read, record, search, u64_at};

    const BASE_BYTES: usize = 8;

    fn key() -> Key {
        Key::of(7)
    }

    pub fn encode(hits: &[u64]) -> Vec<u8> {
        let base = hits.first().map_or(0, |first| first - 1);
        let mut bytes = Vec::with_capacity(BASE_BYTES + hits.len() * RECORD_BYTES);
        bytes.extend(base.to_be_bytes());
        for hit in hits {
            bytes.extend(record::encode(hit - base, key()));
        }
        bytes
    }

    // The base is kept safe by the header's own check, which is not part of this comparison.
    pub fn decode(bytes: &[u8]) -> Read {
        let base = u64_at(bytes, 0);
        let mut complains = false;
        let slots = bytes[BASE_BYTES..].chunks_exact(RECORD_BYTES);
        let hits = slots.map(|slot| {
            let offset_ns = record::decode(slot, key());
            complains |= offset_ns.is_none();
            Some(base + offset_ns?)
        });
        let hits = hits.collect();
        Read { hits, complains }
    }

    pub fn find(bytes: &[u8], at: u64) -> usize {
        let base = u64_at(bytes, 0);
        let slots = &bytes[BASE_BYTES..];
        search(slots.len() / RECORD_BYTES, at, |place| {
            let slot = &slots[place * RECORD_BYTES..];
            base + record::decode(slot, key()).unwrap_or(0)
        })
    }
}

mod plain {
    use super::{Read, search, u64_at};

    pub fn encode(hits: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(hits.len() * 8);
        hits.iter().for_each(|hit| bytes.extend(hit.to_be_bytes()));
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Read {
        let hits: Vec<_> = bytes
            .chunks_exact(8)
            .map(|slot| Some(u64_at(slot, 0)))
            .collect();
        // All it can notice is a stamp that goes back.
        let complains = !hits.is_sorted();
        Read { hits, complains }
    }

    pub fn find(bytes: &[u8], at: u64) -> usize {
        search(bytes.len() / 8, at, |place| u64_at(bytes, place * 8))
    }
}

/// Base, count and check, and an offset of 32 bits for each hit. A block ends when a sector is full, or when
/// 32 bits of nanoseconds reach no further. Blocks differ in length, so that few hits take no more than they
/// need, and one is found from the one before.
mod blocks {
    use super::{CRC_32_ISCSI, Crc, Read, search, u32_at, u64_at};

    const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    const HEAD_BYTES: usize = 8 + 4 + 4;
    const BLOCK_HITS: usize = (512 - HEAD_BYTES) / 4;

    pub fn encode(hits: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(hits.len() * 5);
        let mut rest = hits;
        while let Some(&base) = rest.first() {
            let full = &rest[..rest.len().min(BLOCK_HITS)];
            let reach = full.partition_point(|hit| hit - base <= u64::from(u32::MAX));
            let (block, behind) = rest.split_at(reach);
            rest = behind;
            let begin = bytes.len();
            bytes.extend(base.to_be_bytes());
            bytes.extend((block.len() as u32).to_be_bytes());
            bytes.extend([0; 4]);
            for hit in block {
                bytes.extend(((hit - base) as u32).to_be_bytes());
            }
            let check = check(&bytes[begin..]).to_be_bytes();
            bytes[begin + 12..begin + HEAD_BYTES].copy_from_slice(&check);
        }
        bytes
    }

    fn check(block: &[u8]) -> u32 {
        let mut digest = CHECK.digest();
        digest.update(&block[..12]);
        digest.update(&block[HEAD_BYTES..]);
        digest.finalize()
    }

    /// The block at the beginning, and what is behind it.
    fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let count = (u32_at(bytes, 8) as usize).min(BLOCK_HITS);
        bytes.split_at_checked(HEAD_BYTES + count * 4)
    }

    fn offset(block: &[u8], place: usize) -> u64 {
        u64::from(u32_at(block, HEAD_BYTES + place * 4))
    }

    pub fn decode(mut bytes: &[u8]) -> Read {
        let (mut hits, mut complains) = (Vec::with_capacity(bytes.len() / 4), false);
        while let Some((block, behind)) = next(bytes) {
            let is_sound = u32_at(block, 12) == check(block);
            complains |= !is_sound;
            let base = u64_at(block, 0);
            let count = (block.len() - HEAD_BYTES) / 4;
            hits.extend((0..count).map(|place| is_sound.then(|| base + offset(block, place))));
            bytes = behind;
        }
        complains |= !bytes.is_empty();
        Read { hits, complains }
    }

    pub fn find(mut bytes: &[u8], at: u64) -> usize {
        let mut before = 0;
        while let Some((block, behind)) = next(bytes) {
            let count = (block.len() - HEAD_BYTES) / 4;
            if behind.is_empty() || u64_at(behind, 0) > at {
                let base = u64_at(block, 0);
                return before + search(count, at, |place| base + offset(block, place));
            }
            before += count;
            bytes = behind;
        }
        before
    }
}

/// The distance to the hit before, seven bits in a byte (LEB128).
mod varint {
    use super::Read;

    pub fn encode(hits: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(hits.len() * 4);
        let mut last = 0;
        for &hit in hits {
            let mut delta = hit - last;
            last = hit;
            while delta >= 0x80 {
                bytes.push(delta as u8 | 0x80);
                delta >>= 7;
            }
            bytes.push(delta as u8);
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Read {
        let mut hits = Vec::with_capacity(bytes.len());
        let (mut at, mut delta, mut shift) = (0_u64, 0_u64, 0_u32);
        for &byte in bytes {
            delta |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte < 0x80 {
                at = at.wrapping_add(delta);
                hits.push(Some(at));
                (delta, shift) = (0, 0);
            }
        }
        // An end within a number is all it can notice.
        let complains = shift > 0;
        Read { hits, complains }
    }
}

/// How the distance differs from the one before, in as few bits as there are classes for (Gorilla, in
/// nanoseconds).
mod second {
    use super::{Read, u64_at};

    /// Bits of the classes, the length of whose prefix is their number.
    const CLASSES: [u32; 6] = [0, 8, 16, 24, 32, 64];

    pub fn encode(hits: &[u64]) -> Vec<u8> {
        let mut out = Bits::default();
        let (mut last, mut last_delta) = (0_u64, 0_i64);
        for &hit in hits {
            let delta = hit.wrapping_sub(last).cast_signed();
            let twice = delta.wrapping_sub(last_delta);
            let zigzag = (twice << 1 ^ twice >> 63).cast_unsigned();
            let fits = |bits: u32| bits == 64 || zigzag >> bits == 0;
            let class = CLASSES.iter().position(|&bits| fits(bits)).unwrap_or(5);
            match class {
                5 => out.push(0b11111, 5),
                class => out.push((1 << (class + 1)) - 2, class as u32 + 1),
            }
            out.push(zigzag, CLASSES[class]);
            (last, last_delta) = (hit, delta);
        }
        // What fills the last byte begins a class that has no room.
        let fill = (8 - out.waiting) % 8;
        out.push(u64::MAX, fill);
        out.bytes
    }

    pub fn decode(bytes: &[u8]) -> Read {
        let mut input = Reader { bytes, at: 0 };
        let mut hits = Vec::with_capacity(bytes.len());
        let (mut last, mut last_delta) = (0_u64, 0_i64);
        loop {
            let class = input.class();
            let zigzag = input.take(CLASSES[class]);
            if input.is_over() {
                break;
            }
            let twice = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
            last_delta = last_delta.wrapping_add(twice);
            last = last.wrapping_add(last_delta.cast_unsigned());
            hits.push(Some(last));
        }
        let complains = !hits.is_sorted();
        Read { hits, complains }
    }

    #[derive(Default)]
    struct Bits {
        bytes: Vec<u8>,
        /// What has not made a byte yet, in the lowest `waiting` bits.
        word: u64,
        waiting: u32,
    }

    impl Bits {
        fn push(&mut self, word: u64, bits: u32) {
            if bits > 32 {
                self.push(word >> 32, bits - 32);
                return self.push(word & u64::from(u32::MAX), 32);
            }
            self.word = self.word << bits | word & ((1 << bits) - 1);
            self.waiting += bits;
            while self.waiting >= 8 {
                self.waiting -= 8;
                self.bytes.push((self.word >> self.waiting) as u8);
            }
        }
    }

    struct Reader<'a> {
        bytes: &'a [u8],
        at: usize,
    }

    impl Reader<'_> {
        /// The next bits, of which at least 57 are there; zeros behind the end.
        fn ahead(&self) -> u64 {
            let begin = self.at / 8;
            let word = match self.bytes.get(begin..begin + 8) {
                Some(_) => u64_at(self.bytes, begin),
                None => {
                    let mut last = [0; 8];
                    let rest = self.bytes.get(begin..).unwrap_or_default();
                    last[..rest.len()].copy_from_slice(rest);
                    u64::from_be_bytes(last)
                }
            };
            word << (self.at % 8)
        }

        fn class(&mut self) -> usize {
            let last = CLASSES.len() - 1;
            let class = (self.ahead().leading_ones() as usize).min(last);
            self.at += class + usize::from(class < last);
            class
        }

        fn take(&mut self, bits: u32) -> u64 {
            if bits > 32 {
                return self.take(bits - 32) << 32 | self.take(32);
            }
            let word = self.ahead().checked_shr(64 - bits).unwrap_or(0);
            self.at += bits as usize;
            word
        }

        fn is_over(&self) -> bool {
            self.at > self.bytes.len() * 8
        }
    }
}
