//! The crossing between front and funnel with real threads; `tests/races.rs` goes through their orders.
//!
//! Owns what a line promises to its worker. Must not know of sockets or journals. Invariant: a batch that
//! comes back is the one that was sent.

use tallyd::hit::{Gone, Hit, Message, Verdict, channel};
use tallyd::stamp::Stamp;

#[test]
fn a_batch_comes_back_in_the_same_buffer() {
    let (inlet, messages) = channel();
    let mut line = inlet.line();
    let funnel = std::thread::spawn(move || {
        for message in messages.iter().take(2) {
            let Message::Batch(mut batch) = message else {
                panic!("only batches were sent")
            };
            batch.hits_mut()[0].tally = 41;
            batch.answer(Verdict::Counted);
        }
    });
    let mut places = Vec::new();
    for _ in 0..2 {
        line.next_batch().expect("a batch").push(Stamp::from_ns(3));
        let batch = line.exchange().expect("an answer");
        assert_eq!(
            batch.hits(),
            [Hit {
                stamp: Stamp::from_ns(3),
                tally: 41
            }]
        );
        places.push(batch.hits().as_ptr());
    }
    assert_eq!(places[0], places[1]);
    funnel.join().expect("the funnel");
}

#[test]
fn a_funnel_that_is_gone_is_noticed_at_once() {
    let (inlet, messages) = channel();
    let mut line = inlet.line();
    let funnel = std::thread::spawn(move || drop(messages.recv()));
    line.next_batch().expect("a batch").push(Stamp::from_ns(1));
    assert_eq!(line.exchange().err(), Some(Gone));
    assert_eq!(line.next_batch().err(), Some(Gone));
    funnel.join().expect("the funnel");
}
