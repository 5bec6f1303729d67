//! Stamp <-> bytes. This is the one table of format version 1; nothing else knows an offset.
//!
//! All integers are big-endian, so that files move between machines.
//!
//! | header, 64 bytes: offset | size | field |
//! |---|---|---|
//! | 0 | 7 + 1 | magic `tallyd` and a zero byte, version 1 |
//! | 8 | 8 | segment number, never reused |
//! | 16 | 8 | sequence number of slot 0 (lifetime count of hits before this segment) |
//! | 24 | 8 | boot-time base in ns (first stamp - 1) |
//! | 32 | 8 | wall anchor of that base, signed Unix ns |
//! | 40 | 16 | boot id |
//! | 56 | 4 | flags; unknown bits: refuse |
//! | 60 | 4 | CRC-32C of bytes 0 to 59 |
//!
//! | record, 8 bytes at 64 + 8 i: bits | field |
//! |---|---|
//! | 63-16 | ns after the base, 1 to 2^48 - 1 (78 h); 0 is an empty slot |
//! | 15-0 | CRC-16 of those six bytes, initial value = segment number mod 2^16 |
//!
//! CRC-16 is CCITT's polynomial x^16 + x^12 + x^5 + 1, most significant bit first, nothing inverted
//! (the XMODEM form but for the initial value). Over 48 bits it sees every flip of up to three bits,
//! and since it is linear, a record under the key of another segment fails for certain.
//!
//! Every later version keeps bytes 0 to 7 and the check at 60 where they are, so that a damaged
//! version byte is told from a future version. A version is read by every later tallyd; what a later version
//! wrote is refused whole and left as it is (`tests/versions.rs`).
//!
//! Must not know of files. Invariant: what `encode` wrote under a key, only that key decodes.

use crate::stamp::BootId;
use byteorder::{BigEndian, ByteOrder};
use crc::{CRC_16_XMODEM, CRC_32_ISCSI, Crc};
use std::fmt;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of a record.
pub const RECORD_BYTES: usize = 8;
/// The largest distance of a record from its segment's base, in nanoseconds (78 hours).
pub const OFFSET_NS_MAX: u64 = (1 << 48) - 1;

const MAGIC: [u8; 7] = *b"tallyd\0";
const VERSION: u8 = 1;
const HEADER_CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const RECORD_CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// `TABLES[i][b]` is the check of six bytes that are zero but for byte `i`, which is `b`. The check
/// is linear, so six independent look-ups replace a chain of six: 2 ns where bytewise takes 10.
static TABLES: [[u16; 256]; 6] = {
    let mut tables = [[0; 256]; 6];
    let mut place = 0;
    while place < 6 {
        let mut byte = 0;
        while byte < 256 {
            let mut message = [0_u8; 6];
            message[place] = byte as u8;
            tables[place][byte] = RECORD_CHECK.checksum(&message);
            byte += 1;
        }
        place += 1;
    }
    tables
};

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment's number.
    pub number: u64,
    /// Lifetime count of hits before slot 0.
    pub sequence: u64,
    /// First stamp minus one, in nanoseconds of the boot it was written in.
    pub base_ns: u64,
    /// The wall clock at the base, in nanoseconds since 1970.
    pub wall_ns: i64,
    /// The boot it was written in.
    pub boot: BootId,
}

/// Why 64 bytes are not a header of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// All zero: a segment begun, into which nothing was ever written.
    Blank,
    /// Another file altogether, or its first bytes are damaged.
    NotASegment,
    /// The check over the header fails.
    CheckFailed,
    /// A sound header of a version this program does not know.
    FutureVersion(u8),
    /// A sound header with flags this program does not know.
    UnknownFlags(u32),
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("header is blank"),
            Self::NotASegment => f.write_str("not a segment of tallyd"),
            Self::CheckFailed => f.write_str("header check failed"),
            Self::FutureVersion(version) => {
                write!(
                    f,
                    "format version {version} is not known, at most {VERSION} is"
                )
            }
            Self::UnknownFlags(flags) => write!(f, "flags {flags:#010x} are not known"),
        }
    }
}

impl Header {
    /// The bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..7].copy_from_slice(&MAGIC);
        bytes[7] = VERSION;
        BigEndian::write_u64(&mut bytes[8..16], self.number);
        BigEndian::write_u64(&mut bytes[16..24], self.sequence);
        BigEndian::write_u64(&mut bytes[24..32], self.base_ns);
        BigEndian::write_i64(&mut bytes[32..40], self.wall_ns);
        bytes[40..56].copy_from_slice(&self.boot.0);
        let check = HEADER_CHECK.checksum(&bytes[..60]);
        BigEndian::write_u32(&mut bytes[60..64], check);
        bytes
    }

    /// The header in `bytes`.
    ///
    /// # Errors
    /// The bytes are no sound header of version 1; the fault says how.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderFault> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(HeaderFault::Blank);
        }
        if bytes[..7] != MAGIC {
            return Err(HeaderFault::NotASegment);
        }
        if BigEndian::read_u32(&bytes[60..64]) != HEADER_CHECK.checksum(&bytes[..60]) {
            return Err(HeaderFault::CheckFailed);
        }
        if bytes[7] != VERSION {
            return Err(HeaderFault::FutureVersion(bytes[7]));
        }
        match BigEndian::read_u32(&bytes[56..60]) {
            0 => {}
            flags => return Err(HeaderFault::UnknownFlags(flags)),
        }
        let mut boot = BootId::default();
        boot.0.copy_from_slice(&bytes[40..56]);
        Ok(Self {
            number: BigEndian::read_u64(&bytes[8..16]),
            sequence: BigEndian::read_u64(&bytes[16..24]),
            base_ns: BigEndian::read_u64(&bytes[24..32]),
            wall_ns: BigEndian::read_i64(&bytes[32..40]),
            boot,
        })
    }
}

/// Header corrections that the check itself determines.
impl Header {
    /// The header in the damaged `bytes` of segment `number`, if CRC-32C determines what they were: up to
    /// two flipped bits anywhere, one overwritten byte anywhere, or any damage to the fields that the
    /// format and the file's name tell (magic, version, number, flags).
    ///
    /// About 150 000 corrections are tried against 32 bits of check, so random bytes pass for a header with
    /// a probability below 4e-5.
    #[must_use]
    pub fn correct(bytes: &[u8; HEADER_BYTES], number: u64) -> Option<Self> {
        let known = with_known_fields(bytes, number);
        if let Ok(header) = Self::decode(&known) {
            return Some(header);
        }
        let syndrome = syndrome_of(bytes);
        let flips = flips();
        let corrected = |places: &[(usize, u8)]| {
            let mut bytes = *bytes;
            for &(place, flipped) in places {
                bytes[place] ^= flipped;
            }
            Self::decode(&bytes).ok()
        };
        for place in 0..HEADER_BYTES {
            for flipped in 1..=u8::MAX {
                let bits = (0..8).filter(|bit| flipped & 0x80 >> bit != 0);
                if bits.fold(0, |sum, bit| sum ^ flips[place * 8 + bit]) == syndrome {
                    return corrected(&[(place, flipped)]);
                }
            }
        }
        let bit_at = |bit: usize| (bit / 8, 0x80 >> (bit % 8));
        for one in 0..flips.len() {
            let other = flips[..one]
                .iter()
                .position(|&other| other ^ flips[one] == syndrome);
            if let Some(other) = other {
                return corrected(&[bit_at(one), bit_at(other)]);
            }
        }
        None
    }

    /// The header in the damaged `bytes` of segment `number`, if it is sound once sequence number and boot
    /// are what the neighbouring segments say.
    #[must_use]
    pub fn correct_with(
        bytes: &[u8; HEADER_BYTES],
        number: u64,
        sequence: u64,
        boot: BootId,
    ) -> Option<Self> {
        let mut known = with_known_fields(bytes, number);
        BigEndian::write_u64(&mut known[16..24], sequence);
        known[40..56].copy_from_slice(&boot.0);
        Self::decode(&known).ok()
    }

    /// The fields of the damaged `bytes` as they stand, if only the check itself can be wrong: magic,
    /// version, number and flags are those of segment `number`.
    #[must_use]
    pub fn unchecked(bytes: &[u8; HEADER_BYTES], number: u64) -> Option<Self> {
        let mut checked = *bytes;
        let check = HEADER_CHECK.checksum(&checked[..60]);
        BigEndian::write_u32(&mut checked[60..64], check);
        Self::decode(&checked)
            .ok()
            .filter(|header| header.number == number)
    }
}

/// The bytes with the fields that the format and the file's name tell.
fn with_known_fields(bytes: &[u8; HEADER_BYTES], number: u64) -> [u8; HEADER_BYTES] {
    let mut known = *bytes;
    known[..7].copy_from_slice(&MAGIC);
    known[7] = VERSION;
    BigEndian::write_u64(&mut known[8..16], number);
    known[56..60].fill(0);
    known
}

/// The difference between the check that `bytes` carry and the one they should; zero if they are sound.
fn syndrome_of(bytes: &[u8; HEADER_BYTES]) -> u32 {
    HEADER_CHECK.checksum(&bytes[..60]) ^ BigEndian::read_u32(&bytes[60..64])
}

/// What each bit of a header adds to its syndrome when it flips. The check is linear, so flips add up.
fn flips() -> [u32; HEADER_BYTES * 8] {
    let zeros = [0; HEADER_BYTES];
    let sound = syndrome_of(&zeros);
    std::array::from_fn(|bit| {
        let mut flipped = zeros;
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        syndrome_of(&flipped) ^ sound
    })
}

/// What ties a record to its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u16);

impl Key {
    /// The key of segment `number`.
    #[must_use]
    pub const fn of(number: u64) -> Self {
        Self((number & 0xffff) as u16)
    }

    /// The bits in which it differs from `other`. They are also the bits in which the first two bytes of a
    /// record differ that is valid under both.
    #[must_use]
    pub const fn flips(self, other: Self) -> u16 {
        self.0 ^ other.0
    }

    /// How many segments ago `earlier` was the key, at the least.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// The check of the upper 48 bits of `word`; the key, as initial value, joins the first two bytes.
fn check(word: u64, key: Key) -> u16 {
    let bytes = (word ^ u64::from(key.0) << 48).to_be_bytes();
    TABLES[0][bytes[0] as usize]
        ^ TABLES[1][bytes[1] as usize]
        ^ TABLES[2][bytes[2] as usize]
        ^ TABLES[3][bytes[3] as usize]
        ^ TABLES[4][bytes[4] as usize]
        ^ TABLES[5][bytes[5] as usize]
}

/// The record of a hit `offset_ns` after the base.
///
/// # Panics
/// In debug builds, if `offset_ns` is not in 1 to [`OFFSET_NS_MAX`].
#[must_use]
pub fn encode(offset_ns: u64, key: Key) -> [u8; RECORD_BYTES] {
    debug_assert!((1..=OFFSET_NS_MAX).contains(&offset_ns));
    let word = offset_ns << 16;
    let mut bytes = [0; RECORD_BYTES];
    BigEndian::write_u64(&mut bytes, word + u64::from(check(word, key)));
    bytes
}

/// Nanoseconds after the base, or nothing if the slot is empty or fails its check.
///
/// # Panics
/// If `bytes` is shorter than a record.
#[must_use]
pub fn decode(bytes: &[u8], key: Key) -> Option<u64> {
    let word = BigEndian::read_u64(bytes);
    let offset_ns = word >> 16;
    (offset_ns != 0 && check(word, key) == (word & 0xffff) as u16).then_some(offset_ns)
}

/// The distance from the base that a slot claims, whatever its check says.
///
/// # Panics
/// If `bytes` is shorter than a record.
#[must_use]
pub fn offset_of(bytes: &[u8]) -> u64 {
    BigEndian::read_u64(bytes) >> 16
}

/// What a slot holds that is no record of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A valid record, in ns after the base.
    Record(u64),
    /// Zeros, or zeros in which at most [`STRAY_BITS_MAX`] bits are set.
    Empty {
        /// Whether a bit is set.
        stray: bool,
    },
    /// Bytes that only this key makes a record.
    Other(Key),
}

/// Bits that may be set in an empty slot before it is taken for a damaged record. A record has about 24 of
/// its 64 bits set.
pub const STRAY_BITS_MAX: u32 = 3;

/// Tells what is in a slot, where [`decode`] only tells records from the rest.
///
/// # Panics
/// If `bytes` is shorter than a record.
#[must_use]
pub fn classify(bytes: &[u8], key: Key) -> Slot {
    if let Some(offset_ns) = decode(bytes, key) {
        return Slot::Record(offset_ns);
    }
    let word = BigEndian::read_u64(bytes);
    if word.count_ones() <= STRAY_BITS_MAX {
        return Slot::Empty { stray: word != 0 };
    }
    // The check is linear and the key joins the first two bytes, so each difference is that of one key.
    let difference = check(word, Key(0)) ^ (word & 0xffff) as u16;
    Slot::Other(key_of(difference))
}

/// The key that adds `difference` to a check: as initial value of CRC-16 it has gone through 48 steps of the
/// polynomial, which are taken back one by one.
fn key_of(difference: u16) -> Key {
    const POLYNOMIAL: u16 = 0x1021;
    Key((0..48).fold(difference, |register, _| match register & 1 {
        0 => register >> 1,
        _ => (register ^ POLYNOMIAL) >> 1 | 0x8000,
    }))
}

/// Whether a valid record could as well be an empty slot with some bits set: its bits are those of the key
/// alone, which passes every check.
#[must_use]
pub const fn is_key_in_zeros(offset_ns: u64, key: Key) -> bool {
    offset_ns == (key.0 as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            number: 7,
            sequence: 1_000_000,
            base_ns: 123_456_789,
            wall_ns: -1,
            boot: BootId(*b"0123456789abcdef"),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn one_or_two_flipped_bits_of_a_header_are_corrected() {
        let sound = sample().encode();
        for one in 0..HEADER_BYTES * 8 {
            for other in [0, one / 2, one].into_iter().chain((0..one).step_by(151)) {
                let mut bytes = sound;
                bytes[one / 8] ^= 0x80 >> (one % 8);
                bytes[other / 8] ^= 0x80 >> (other % 8);
                if bytes != sound {
                    assert_eq!(Header::correct(&bytes, 7), Some(sample()), "{one} {other}");
                }
            }
        }
    }

    #[test]
    fn one_overwritten_byte_of_a_header_is_corrected() {
        let sound = sample().encode();
        for place in 0..HEADER_BYTES {
            for value in [!sound[place], sound[place] ^ 0x5a, sound[place] ^ 7] {
                let mut bytes = sound;
                bytes[place] = value;
                assert_eq!(
                    Header::correct(&bytes, 7),
                    Some(sample()),
                    "{place} {value}"
                );
            }
        }
    }

    #[test]
    fn fields_that_the_file_name_tells_may_be_damaged_altogether() {
        let mut bytes = sample().encode();
        bytes[..16].fill(0xa5);
        bytes[56..60].fill(0xa5);
        assert_eq!(Header::correct(&bytes, 7), Some(sample()));
        assert_eq!(Header::correct(&bytes, 8), None);
    }

    #[test]
    fn fields_that_the_neighbours_tell_may_be_damaged_altogether() {
        let Header { sequence, boot, .. } = sample();
        let mut bytes = sample().encode();
        bytes[..24].fill(0xa5);
        bytes[40..60].fill(0xa5);
        assert_eq!(Header::correct(&bytes, 7), None);
        let correct = |sequence, boot| Header::correct_with(&bytes, 7, sequence, boot);
        assert_eq!(correct(sequence, boot), Some(sample()));
        assert_eq!(correct(sequence + 1, boot), None);
        assert_eq!(correct(sequence, BootId::default()), None);
    }

    #[test]
    fn a_lost_check_leaves_the_fields_as_they_stand() {
        let mut bytes = sample().encode();
        bytes[60..].fill(0xa5);
        assert_eq!(Header::correct(&bytes, 7), None);
        assert_eq!(Header::unchecked(&bytes, 7), Some(sample()));
        assert_eq!(Header::unchecked(&bytes, 8), None);
    }

    #[test]
    fn bytes_that_were_never_a_header_are_not_corrected_into_one() {
        let mut state = 1_u64;
        for _ in 0..20 {
            let bytes = std::array::from_fn(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 56) as u8
            });
            assert_eq!(Header::correct(&bytes, 7), None);
        }
        assert_eq!(Header::correct(&[0; HEADER_BYTES], 7), None);
    }

    #[test]
    fn a_slot_tells_a_record_from_empty_ones_and_from_those_of_other_segments() {
        let key = Key::of(3);
        for number in [0, 1, 2, 4, 255, 256, 65_535] {
            let of_other = encode(123_456_789_012, Key::of(number));
            assert_eq!(classify(&of_other, key), Slot::Other(Key::of(number)));
        }
        assert_eq!(classify(&encode(77, key), key), Slot::Record(77));
        assert_eq!(classify(&[0; 8], key), Slot::Empty { stray: false });
        assert_eq!(
            classify(&[0, 0, 16, 0, 0, 0, 1, 0], key),
            Slot::Empty { stray: true }
        );
    }

    #[test]
    fn a_key_set_in_zeros_is_told_from_other_records() {
        let mut bytes = [0; 8];
        bytes[1] = 4;
        let offset_ns = decode(&bytes, Key::of(4)).expect("it passes the check");
        assert!(is_key_in_zeros(offset_ns, Key::of(4)));
        assert!(!is_key_in_zeros(offset_ns + 1, Key::of(4)));
    }

    #[test]
    fn the_header_has_its_golden_bytes() {
        assert_eq!(
            hex(&sample().encode()),
            "74616c6c79640001000000000000000700000000000f4240000000000\
             75bcd15ffffffffffffffff3031323334353637383961626364656600000000d29a458a"
        );
    }

    #[test]
    fn records_have_their_golden_bytes() {
        assert_eq!(hex(&encode(1, Key::of(0))), "0000000000011021");
        assert_eq!(hex(&encode(1, Key::of(1))), "000000000001ba70");
        assert_eq!(
            hex(&encode(OFFSET_NS_MAX, Key::of(0x1_0000))),
            "ffffffffffff97df"
        );
    }

    #[test]
    fn the_table_look_up_is_the_check_of_the_crc_crate() {
        for key in [0_u16, 1, 0x8000, 0xffff, 0x1234] {
            for word in [1_u64 << 16, 0xfedc_ba98_7654 << 16, u64::MAX << 16] {
                let crc = Crc::<u16>::new(&CRC_16_XMODEM);
                let mut digest = crc.digest_with_initial(key);
                digest.update(&word.to_be_bytes()[..6]);
                assert_eq!(
                    check(word, Key(key)),
                    digest.finalize(),
                    "{word:x} under {key}"
                );
            }
        }
    }

    #[test]
    fn every_flip_of_up_to_three_bits_of_a_record_fails_its_check() {
        let key = Key::of(0xbeef);
        let word = u64::from_be_bytes(encode(0x1234_5678_9abc, key));
        for first in 0..64 {
            for second in first..64 {
                for third in second..64 {
                    let flips: u64 = 1 << first | 1 << second | 1 << third;
                    assert_eq!(
                        decode(&(word ^ flips).to_be_bytes(), key),
                        None,
                        "{flips:x}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_record_under_any_other_key_fails_its_check() {
        for offset_ns in [1, 42, OFFSET_NS_MAX] {
            let bytes = encode(offset_ns, Key::of(77));
            for key in 0..=u16::MAX {
                assert_eq!(decode(&bytes, Key(key)), (key == 77).then_some(offset_ns));
            }
        }
    }

    #[test]
    fn zeros_are_an_empty_slot_under_every_key() {
        assert!((0..=u16::MAX).all(|key| decode(&[0; 8], Key(key)).is_none()));
    }

    #[test]
    fn every_single_bit_flip_of_a_header_is_a_fault() {
        let sound = sample().encode();
        assert_eq!(Header::decode(&sound), Ok(sample()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = sound;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let fault = Header::decode(&bytes).expect_err("a flip must show");
            assert!(matches!(
                fault,
                HeaderFault::NotASegment | HeaderFault::CheckFailed
            ));
        }
    }

    #[test]
    fn a_future_version_and_unknown_flags_are_told_from_damage() {
        let reseal = |place: usize| {
            let mut bytes = sample().encode();
            bytes[place] = 2;
            let check = HEADER_CHECK.checksum(&bytes[..60]);
            BigEndian::write_u32(&mut bytes[60..], check);
            Header::decode(&bytes)
        };
        assert_eq!(reseal(7), Err(HeaderFault::FutureVersion(2)));
        assert_eq!(reseal(59), Err(HeaderFault::UnknownFlags(2)));
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), Err(HeaderFault::Blank));
    }

    #[test]
    fn a_fault_says_what_was_found_and_what_is_known() {
        for (fault, words) in [
            (HeaderFault::Blank, "header is blank"),
            (HeaderFault::NotASegment, "not a segment of tallyd"),
            (HeaderFault::CheckFailed, "header check failed"),
            (
                HeaderFault::FutureVersion(2),
                "format version 2 is not known, at most 1 is",
            ),
            (
                HeaderFault::UnknownFlags(0x40),
                "flags 0x00000040 are not known",
            ),
        ] {
            assert_eq!(fault.to_string(), words);
        }
    }
}
