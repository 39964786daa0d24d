//! Where in xenstore the two sides meet. All paths are relative to `/local/domain/<domid>`.
//!
//! Orders are too large for one xenstore message, so [`ORDERS`] holds the number of chunks and
//! `ORDERS/0`, `ORDERS/1`, … hold them. The count is written last, in the same transaction:
//! whoever sees it sees all chunks.

/// The number of chunks, and the parent of the chunks. Dom0 writes, the guest reads.
pub const ORDERS: &str = "vm-data/launch/orders";
/// The report; the guest writes, dom0 reads.
pub const REPORT: &str = "data/launch/report";

/// The largest chunk; a xenstore message carries 4,096 bytes, its path included.
pub const CHUNK_BYTES: usize = 3072;
/// The most chunks that are read, which bounds orders at 768 KiB.
pub const MAX_CHUNKS: usize = 256;

/// Splits `text` into chunks of at most [`CHUNK_BYTES`], never inside a character.
///
/// Returns `None` where it would take more than [`MAX_CHUNKS`].
#[must_use]
pub fn split(text: &str) -> Option<Vec<&str>> {
    let mut chunks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(CHUNK_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (chunk, tail) = rest.split_at(end);
        chunks.push(chunk);
        rest = tail;
    }
    (chunks.len() <= MAX_CHUNKS).then_some(chunks)
}

/// The path of chunk `index`.
#[must_use]
pub fn chunk_path(index: usize) -> String {
    format!("{ORDERS}/{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_to_the_same_text_and_never_cut_a_character() {
        let text = "\u{e9}\u{1f980}x".repeat(5000);
        let chunks = split(&text).unwrap();
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        assert_eq!(chunks.concat(), text);
    }

    #[test]
    fn text_beyond_the_most_chunks_is_refused() {
        assert!(split(&"x".repeat(CHUNK_BYTES * MAX_CHUNKS)).is_some());
        assert!(split(&"x".repeat(CHUNK_BYTES * MAX_CHUNKS + 1)).is_none());
    }
}
