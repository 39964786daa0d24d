//! Where in xenstore the two sides meet. All paths are relative to `/local/domain/<domid>`.
//!
//! A text may be too large for one xenstore message, so it comes in chunks. The node itself holds
//! their number, a space and the first chunk, which is all of most texts: one read brings it. The
//! nodes `1`, `2`, … below hold the others. All are written in one transaction, or the node itself
//! last: whoever sees it sees all chunks.

/// The orders. Dom0 writes, the guest reads.
pub const ORDERS: &str = "vm-data/launch/orders";
/// The [`crate::StartSet`] of the domain's image; no chunks ask the guest to find it out, and no node
/// is no wish to know. Dom0 writes, the guest reads.
pub const START_SET: &str = "vm-data/launch/start-set";
/// The start set that a guest found out, in chunks of [`FOUND_CHUNK_BYTES`]. The guest writes, dom0
/// reads.
pub const FOUND_START_SET: &str = "data/launch/start-set";
/// The report; the guest writes, dom0 reads.
pub const REPORT: &str = "data/launch/report";

/// A signal for the app: a number that is another one each time, a space and the signal's own
/// number. Dom0 writes, the guest reads.
pub const SIGNAL: &str = "vm-data/launch/signal";
/// The first number of the [`SIGNAL`] that the app was sent last. The guest writes, dom0 reads.
pub const SIGNAL_SENT: &str = "data/launch/signal";
/// How long the app has when it is asked to stop, in place of what its orders say; in
/// milliseconds. Dom0 writes it before it asks, the guest reads.
pub const STOP_TIMEOUT: &str = "vm-data/launch/stop-timeout-ms";

/// The largest chunk; a xenstore message carries 4,096 bytes, its path included.
pub const CHUNK_BYTES: usize = 3072;
/// The most chunks that are read, which bounds orders at 768 KiB.
pub const MAX_CHUNKS: usize = 256;
/// The largest chunk of a guest's: xenstored lets it write 2,048 bytes a node.
pub const FOUND_CHUNK_BYTES: usize = 1536;
/// The most of a start set, in either direction.
pub const MAX_START_SET_BYTES: usize = 40 << 10;

/// The nodes that hold `text` at `node`, the one that is to be written last as the last; each
/// chunk has at most `chunk_bytes`, and none ends inside a character.
///
/// Returns `None` where it would take more than [`MAX_CHUNKS`].
#[must_use]
pub fn nodes(node: &str, text: &str, chunk_bytes: usize) -> Option<Vec<(String, String)>> {
    let mut chunks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(chunk_bytes);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (chunk, tail) = rest.split_at(end);
        chunks.push(chunk);
        rest = tail;
    }
    if chunks.len() > MAX_CHUNKS {
        return None;
    }
    let first = chunks.first().copied().unwrap_or_default();
    let head = (node.to_owned(), format!("{} {first}", chunks.len()));
    let others = chunks.iter().enumerate().skip(1);
    let others = others.map(|(index, chunk)| (chunk_path(node, index), (*chunk).to_owned()));
    Some(others.chain([head]).collect())
}

/// The path of chunk `index` of the text at `node`.
#[must_use]
pub fn chunk_path(node: &str, index: usize) -> String {
    format!("{node}/{index}")
}

/// Why a text cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum JoinError<E: std::error::Error + 'static> {
    /// The node itself makes no sense.
    #[error(
        "xenstore node {node} begins with '{start}', not with a number of chunks up to {MAX_CHUNKS}"
    )]
    Count {
        /// The node.
        node: String,
        /// Its first characters.
        start: String,
    },
    /// A chunk is not there.
    #[error("xenstore node {0} is missing: the text is incomplete")]
    Missing(String),
    /// A chunk cannot be read.
    #[error(transparent)]
    Read(#[from] E),
}

/// Puts together the text at `node`, which holds `head`; `read` brings the other chunks.
///
/// # Errors
/// Another number of chunks than there can be, or one of them is missing.
pub fn join<E: std::error::Error + 'static>(
    node: &str,
    head: &str,
    mut read: impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<String, JoinError<E>> {
    let parsed = head.split_once(' ').and_then(|(count, first)| {
        let count = count.parse::<usize>().ok().filter(|count| *count <= MAX_CHUNKS)?;
        Some((count, first))
    });
    let (count, first) = parsed.ok_or_else(|| JoinError::Count {
        node: node.to_owned(),
        start: head.chars().take(20).filter(|c| !c.is_control()).collect(),
    })?;
    let mut text = first.to_owned();
    for index in 1..count {
        let path = chunk_path(node, index);
        text += &read(&path)?.ok_or(JoinError::Missing(path))?;
    }
    Ok(text)
}

/// What [`SIGNAL`] holds.
#[must_use]
pub fn render_signal(number: u64, signal: i32) -> String {
    format!("{number} {signal}")
}

/// Parses what [`render_signal`] made: the number and the signal, which is one of Linux's.
#[must_use]
pub fn parse_signal(text: &str) -> Option<(u64, i32)> {
    let (number, signal) = text.split_once(' ')?;
    let signal = signal.parse().ok().filter(|signal| (1..=64).contains(signal))?;
    Some((number.parse().ok()?, signal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn join_nodes(nodes: &[(String, String)]) -> Result<String, JoinError<Infallible>> {
        let find = |path: &str| {
            Ok(nodes.iter().find(|(name, _)| name == path).map(|(_, value)| value.clone()))
        };
        join("n", &nodes.last().unwrap().1, find)
    }

    #[test]
    fn chunks_join_to_the_same_text_and_never_cut_a_character() {
        let text = "\u{e9}\u{1f980}x".repeat(5000);
        let nodes = nodes("n", &text, CHUNK_BYTES).unwrap();
        assert_eq!(nodes.len(), 12);
        assert!(nodes.iter().all(|(_, value)| value.len() <= CHUNK_BYTES + 4));
        assert_eq!(join_nodes(&nodes).unwrap(), text);
    }

    #[test]
    fn a_short_text_is_in_one_node_and_an_empty_one_is_no_chunks() {
        let one = nodes("n", "text", CHUNK_BYTES).unwrap();
        assert_eq!(one, [("n".to_owned(), "1 text".to_owned())]);
        assert_eq!(join_nodes(&one).unwrap(), "text");
        let none = nodes("n", "", CHUNK_BYTES).unwrap();
        assert_eq!(none, [("n".to_owned(), "0 ".to_owned())]);
        assert_eq!(join_nodes(&none).unwrap(), "");
    }

    #[test]
    fn a_signal_is_read_as_it_was_written_and_no_other_number_is_one() {
        assert_eq!(parse_signal(&render_signal(7, 15)), Some((7, 15)));
        for text in ["", "7", "7 0", "7 65", "x 15", "7 15 1"] {
            assert_eq!(parse_signal(text), None, "{text:?}");
        }
    }

    #[test]
    fn text_beyond_the_most_chunks_is_refused() {
        assert!(nodes("n", &"x".repeat(CHUNK_BYTES * MAX_CHUNKS), CHUNK_BYTES).is_some());
        assert!(nodes("n", &"x".repeat(CHUNK_BYTES * MAX_CHUNKS + 1), CHUNK_BYTES).is_none());
    }

    #[test]
    fn a_missing_chunk_or_an_odd_count_is_named() {
        let mut cut = nodes("n", &"x".repeat(2 * CHUNK_BYTES), CHUNK_BYTES).unwrap();
        cut.remove(0);
        let missing = join_nodes(&cut).unwrap_err().to_string();
        assert!(missing.contains("node n/1 is missing"), "{missing}");
        for head in ["", "1", "-1 x", "257 x", "x y", "\u{1b}[2J x"] {
            let odd = join_nodes(&[("n".into(), head.into())]).unwrap_err().to_string();
            assert!(odd.contains("number of chunks") && !odd.contains('\u{1b}'), "{odd}");
        }
    }
}
