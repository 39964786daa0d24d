//! The frames of a conversation, as dom0 and the guest cut them out of a vchan: whatever comes, in
//! whatever pieces, is an error or frames that are the same when rendered and read again.
#![no_main]

use contract::talk::{Answer, Ask, Decoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let pieces = bytes.chunks(usize::from(piece).max(1));
    for answer in frames(Decoder::answers, pieces.clone()) {
        let mut rendered = vec![];
        answer.render(&mut rendered);
        let again: Vec<Answer> = frames(Decoder::answers, [rendered.as_slice()]);
        assert_eq!(again, [answer]);
    }
    for ask in frames(Decoder::asks, pieces) {
        let mut rendered = vec![];
        ask.render(&mut rendered);
        let again: Vec<Ask> = frames(Decoder::asks, [rendered.as_slice()]);
        assert_eq!(again, [ask]);
    }
});

fn frames<'a, T>(
    decoder: fn() -> Decoder<T>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<T> {
    let mut decoder = decoder();
    let mut found = vec![];
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}
