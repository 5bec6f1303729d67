//! A conversation without a socket: bytes in any pieces, and what comes of them.
//!
//! Owns what a worker does between reads, as far as the answers depend on it: what was not used is
//! given again with what follows, and a turn for which there was no room is taken later.
//!
//! Must not know what the bytes mean. Invariants, asserted for all that is ever told: no more is used
//! than was given, every hit has its answer, and behind an answer that closes there is no other.

use tallyd::front::pool::limits::Limits;
use tallyd::front::pool::talk::{Answer, Owes, Talk};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Every answer, in order.
    pub answers: Vec<Answer>,
    /// How many hits there were.
    pub hit_count: usize,
    /// Whether the connection is to be closed.
    pub closes: bool,
    /// What the client is waited for with.
    pub owes: Owes,
    /// How many bytes wait for more.
    pub left: usize,
}

/// Tells a new conversation `pieces`, with room for so many hits at once.
pub fn tell<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits, room: usize) -> Told {
    let mut talk = Talk::new();
    let mut answers = Vec::new();
    let mut hit_count = 0;
    let mut left = Vec::new();
    for piece in pieces {
        left.extend_from_slice(piece);
        loop {
            let (before, closed) = (answers.len(), talk.closes());
            let heard = talk.hear(&left, limits, false, room, &mut answers, |_| {});
            assert!(heard.used <= left.len(), "{heard:?}");
            assert!(heard.head_count <= room, "{heard:?}");
            assert!(!closed || answers.len() == before, "{answers:?}");
            left.drain(..heard.used);
            hit_count += heard.head_count;
            if !heard.more {
                break;
            }
            assert_eq!(heard.head_count, room, "there was no room: {heard:?}");
        }
        // What waits is a head, which is bounded, or half a blank line.
        assert!(left.len() < limits.head_bytes_max, "{}", left.len());
    }
    let hits = |answer: &&Answer| matches!(answer, Answer::Response(_));
    assert_eq!(answers.iter().filter(hits).count(), hit_count);
    let open = answers.iter().take_while(|answer| match answer {
        Answer::Response(form) => form.stays,
        Answer::Continue => true,
        Answer::Refused(_) => false,
    });
    assert!(open.count() + 1 >= answers.len(), "{answers:?}");
    Told {
        answers,
        hit_count,
        closes: talk.closes(),
        owes: talk.owes(),
        left: left.len(),
    }
}
