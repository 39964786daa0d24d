//! Where in xenstore the two sides meet. All paths are relative to `/local/domain/<domid>`.
//!
//! A node holds 2,048 bytes at most, so a longer text is cut into chunks. The text's own node holds
//! their number, a space and the first chunk, which is all of most texts: one read brings it. Nodes
//! beside it hold the other chunks ([`chunk_path`]). The text's own node is written last, so a reader
//! that finds it finds all chunks.

use crate::Untrusted;

/// The folder of everything that dom0 tells the guest.
pub const FOLDER: &str = "vm-data/launch";
/// The orders. Dom0 writes, the guest reads.
pub const ORDERS: &str = "vm-data/launch/orders";
/// The [`crate::StartSet`] of the domain's image. Zero chunks: dom0 asks the guest to record one. No node:
/// dom0 does not want one. Dom0 writes, the guest reads.
pub const START_SET: &str = "vm-data/launch/start-set";
/// The start set that a guest recorded, in chunks of [`FOUND_CHUNK_BYTES`]. The guest writes, dom0
/// reads.
pub const FOUND_START_SET: &str = "data/launch/start-set";
/// The report; the guest writes, dom0 reads.
pub const REPORT: &str = "data/launch/report";

/// A signal for the app: a number that differs each time, a space and the signal's own
/// number. Dom0 writes, the guest reads.
pub const SIGNAL: &str = "vm-data/launch/signal";
/// The first number of the [`SIGNAL`] that the app was sent last. The guest writes, dom0 reads.
pub const SIGNAL_SENT: &str = "data/launch/signal";
/// How long the app has when it is asked to stop, in place of what its orders say; in
/// milliseconds. Dom0 writes it before it asks, the guest reads.
pub const STOP_TIMEOUT: &str = "vm-data/launch/stop-timeout-ms";

/// The most bytes of a node, for dom0 as well as for guests: `oxenstored`'s `quota-maxsize`. A message
/// could carry 4,096, the path included.
pub const MAX_NODE_BYTES: usize = 2048;
/// The most bytes of a chunk. The number before the first one needs five bytes. The guest's ring takes
/// 1,024 bytes at once: an answer with its header of 16 bytes fills it twice, not three times.
pub const CHUNK_BYTES: usize = MAX_NODE_BYTES - 16 - 5;
/// The most chunks of orders.
pub const MAX_CHUNKS: usize = 8192;
/// The most bytes of orders, however their characters fall on the chunks' ends: 16 MiB. Linux takes
/// 2 MiB of arguments and environment, and JSON makes six bytes of one control character.
pub const MAX_ORDERS_BYTES: usize = MAX_CHUNKS * (CHUNK_BYTES - 3);
/// The largest chunk of a guest's.
pub const FOUND_CHUNK_BYTES: usize = 1536;
/// The most bytes of a start set, in either direction.
pub const MAX_START_SET_BYTES: usize = 40 << 10;
/// The most chunks of a start set, in either direction.
pub const MAX_START_SET_CHUNKS: usize = MAX_START_SET_BYTES / (FOUND_CHUNK_BYTES - 3) + 1;
/// So many chunks have a folder together: the names of all of a folder fit into one message, so
/// that `xenstore-ls` can list it.
const CHUNKS_PER_FOLDER: usize = 256;

/// A text as nodes: path and value each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// All chunks except the first. The reader looks for them once `head` is there.
    pub others: Vec<(String, String)>,
    /// The text's own node, to be written after the others.
    pub head: (String, String),
}

/// The nodes that hold `text` at `node`; each chunk has at most `chunk_bytes`, and none ends inside
/// a character.
#[must_use]
pub fn nodes(node: &str, text: &str, chunk_bytes: usize) -> Nodes {
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
    let first = chunks.first().copied().unwrap_or_default();
    let head = (node.to_owned(), format!("{} {first}", chunks.len()));
    let others = chunks.iter().enumerate().skip(1);
    let others = others.map(|(index, chunk)| (chunk_path(node, index), (*chunk).to_owned()));
    Nodes { others: others.collect(), head }
}

/// The path of chunk `index` of the text at `node`, from 1 on: the folder's number, then the chunk's
/// in it.
///
/// It is not below `node`: creating a node creates its parents, and `node` must not exist before all
/// chunks do.
#[must_use]
pub fn chunk_path(node: &str, index: usize) -> String {
    format!("{node}-chunks/{}/{}", index / CHUNKS_PER_FOLDER, index % CHUNKS_PER_FOLDER)
}

/// Why a text cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum JoinError<E: std::error::Error + 'static> {
    /// The node itself makes no sense.
    #[error("xenstore node {node} begins with '{start}', not with a number of chunks up to {most}")]
    Count {
        /// The node.
        node: String,
        /// Its first characters.
        start: Untrusted,
        /// The most chunks that such a text has.
        most: usize,
    },
    /// A chunk is not there.
    #[error("xenstore node {0} is missing: the text is incomplete")]
    Missing(String),
    /// A chunk cannot be read.
    #[error(transparent)]
    Read(#[from] E),
}

/// Puts together the text at `node`, which holds `head` and has at most `max_chunks`; `read` brings
/// the other chunks.
///
/// # Errors
/// Another number of chunks than there can be, or one of them is missing.
pub fn join<E: std::error::Error + 'static>(
    node: &str,
    head: &str,
    max_chunks: usize,
    mut read: impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<String, JoinError<E>> {
    let parsed = head.split_once(' ').and_then(|(count, first)| {
        let count = count.parse::<usize>().ok().filter(|count| *count <= max_chunks)?;
        Some((count, first))
    });
    let (count, first) = parsed.ok_or_else(|| JoinError::Count {
        node: node.to_owned(),
        start: head.chars().take(20).collect::<String>().into(),
        most: max_chunks,
    })?;
    // All chunks but the last are about as long as the first. A guest has no memory for copies.
    let mut text = String::with_capacity(first.len() * count.max(1));
    text.push_str(first);
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

    fn join_nodes(Nodes { others, head }: &Nodes) -> Result<String, JoinError<Infallible>> {
        let find = |path: &str| {
            Ok(others.iter().find(|(name, _)| name == path).map(|(_, value)| value.clone()))
        };
        join("n", &head.1, MAX_CHUNKS, find)
    }

    fn sizes(Nodes { others, head }: &Nodes) -> impl Iterator<Item = usize> {
        others.iter().chain([head]).map(|(_, value)| value.len())
    }

    #[test]
    fn chunks_join_to_the_same_text_and_never_cut_a_character() {
        let text = "\u{e9}\u{1f980}x".repeat(5000);
        let nodes = nodes("n", &text, CHUNK_BYTES);
        assert_eq!(nodes.others.len(), 17);
        assert_eq!(join_nodes(&nodes).unwrap(), text);
    }

    #[test]
    fn no_node_of_the_longest_orders_is_larger_than_any_xenstored_takes() {
        // Each chunk ends before a character of four bytes that does not fit.
        let text = "\u{1f980}".repeat(MAX_ORDERS_BYTES / 4);
        let nodes = nodes("n", &text, CHUNK_BYTES);
        assert!(nodes.others.len() < MAX_CHUNKS);
        assert!(sizes(&nodes).all(|size| size <= MAX_NODE_BYTES));
        assert_eq!(join_nodes(&nodes).unwrap(), text);
        let full = "x".repeat(CHUNK_BYTES * MAX_CHUNKS);
        let full = super::nodes("n", &full, CHUNK_BYTES);
        assert!(full.head.1.starts_with("8192 x"));
        assert!(sizes(&full).all(|size| size + 16 <= MAX_NODE_BYTES));
    }

    #[test]
    fn no_chunk_is_below_the_node_that_says_that_all_are_there() {
        let nodes = nodes("a/n", &"x".repeat(300 * CHUNK_BYTES), CHUNK_BYTES);
        assert_eq!(nodes.others[0].0, "a/n-chunks/0/1");
        assert_eq!(nodes.others[298].0, "a/n-chunks/1/43");
        assert!(nodes.others.iter().all(|(path, _)| !path.starts_with("a/n/")));
    }

    #[test]
    fn the_names_of_a_folder_of_chunks_fit_into_one_message() {
        let nodes = nodes("n", &"x".repeat(1000 * CHUNK_BYTES), CHUNK_BYTES);
        let mut names = std::collections::HashMap::<_, usize>::new();
        for (path, _) in &nodes.others {
            let (folder, name) = path.rsplit_once('/').unwrap();
            *names.entry(folder).or_default() += name.len() + 1;
        }
        assert_eq!(names.len(), 4);
        assert!(names.values().all(|bytes| *bytes < 4000), "{names:?}");
    }

    #[test]
    fn a_short_text_is_in_one_node_and_an_empty_one_is_no_chunks() {
        let one = nodes("n", "text", CHUNK_BYTES);
        assert_eq!(one, Nodes { others: vec![], head: ("n".to_owned(), "1 text".to_owned()) });
        assert_eq!(join_nodes(&one).unwrap(), "text");
        let none = nodes("n", "", CHUNK_BYTES);
        assert_eq!(none, Nodes { others: vec![], head: ("n".to_owned(), "0 ".to_owned()) });
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
    fn a_missing_chunk_or_an_odd_count_is_named() {
        let mut cut = nodes("n", &"x".repeat(2 * CHUNK_BYTES), CHUNK_BYTES);
        cut.others.clear();
        let missing = join_nodes(&cut).unwrap_err().to_string();
        assert!(missing.contains("node n-chunks/0/1 is missing"), "{missing}");
        for head in ["", "1", "-1 x", "8193 x", "x y", "\u{1b}[2J x"] {
            let nodes = Nodes { others: vec![], head: ("n".into(), head.into()) };
            let odd = join_nodes(&nodes).unwrap_err().to_string();
            assert!(odd.contains("number of chunks up to 8192"), "{odd}");
            assert!(!odd.contains('\u{1b}'), "{odd}");
        }
    }

    #[test]
    fn a_guest_cannot_make_dom0_read_more_chunks_than_a_start_set_has() {
        let json = "x".repeat(MAX_START_SET_BYTES);
        let set = nodes("n", &json, FOUND_CHUNK_BYTES);
        assert!(set.others.len() < MAX_START_SET_CHUNKS);
        let head = format!("{} x", MAX_START_SET_CHUNKS + 1);
        let read = |_: &str| -> Result<_, Infallible> { panic!("a chunk was read") };
        assert!(matches!(
            join("n", &head, MAX_START_SET_CHUNKS, read),
            Err(JoinError::Count { most: MAX_START_SET_CHUNKS, .. })
        ));
    }
}
