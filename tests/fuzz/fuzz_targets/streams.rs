//! Output and errors told apart in what a guest writes to its console: what comes out is the same
//! however the bytes are cut into pieces, and never more than went in.
#![no_main]

use contract::streams::{Splitter, Stream};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = split(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(piece).max(1)).collect();
    assert_eq!(split(&pieces), whole);
    assert!(whole.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= bytes.len());
});

/// Neighbouring pieces of one stream are put together.
fn split(pieces: &[&[u8]]) -> Vec<(Stream, Vec<u8>)> {
    let mut splitter = Splitter::default();
    let mut all: Vec<_> = pieces.iter().flat_map(|piece| splitter.split(piece)).collect();
    all.extend(splitter.finish());
    let mut joined: Vec<(Stream, Vec<u8>)> = vec![];
    for (stream, bytes) in all.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        match joined.last_mut() {
            Some((last, text)) if *last == stream => text.extend(bytes),
            _ => joined.push((stream, bytes)),
        }
    }
    joined
}
