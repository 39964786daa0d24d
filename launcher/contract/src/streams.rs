//! Standard output and standard error on one console, told apart.
//!
//! `init` puts a mark of [`MARK_BYTES`] before and after what is standard error: a terminal's
//! "application program command", which terminals do not show. An app that writes to standard output
//! alone has no marks. An app can write marks too, and then only its own log has its words under
//! another name.

/// Where an app wrote something to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// Standard output. Also used when the stream is not known.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// The length of a mark.
pub const MARK_BYTES: usize = 11;

const TO_STDOUT: [u8; MARK_BYTES] = *b"\x1b_launch1\x1b\\";
const TO_STDERR: [u8; MARK_BYTES] = *b"\x1b_launch2\x1b\\";
/// The last mark that `init` writes to the console before output continues over a vchan, after
/// [`crate::talk::Request::Output`].
pub const ELSEWHERE: [u8; MARK_BYTES] = *b"\x1b_launch3\x1b\\";
const MARKS: [[u8; MARK_BYTES]; 3] = [TO_STDOUT, TO_STDERR, ELSEWHERE];

impl Stream {
    /// What is put before its bytes when they follow the other's.
    #[must_use]
    pub fn mark(self) -> [u8; MARK_BYTES] {
        match self {
            Self::Stdout => TO_STDOUT,
            Self::Stderr => TO_STDERR,
        }
    }
}

/// Takes the marks out again.
#[derive(Debug, Default)]
pub struct Splitter {
    stream: Stream,
    /// The last bytes, if they may be the beginning of a mark.
    held: Vec<u8>,
    elsewhere: bool,
}

impl Splitter {
    /// Continues where another one stopped, with what [`Splitter::state`] returned.
    #[must_use]
    pub fn resume(stream: Stream, held: &[u8]) -> Self {
        let mut splitter = Self { stream, ..Self::default() };
        // Bytes that do not begin a mark have been returned already.
        if MARKS.iter().any(|mark| mark.len() > held.len() && mark.starts_with(held)) {
            splitter.held = held.to_vec();
        }
        splitter
    }

    /// The stream of the next bytes, and the last bytes if they may be the beginning of a mark; always
    /// fewer than [`MARK_BYTES`].
    #[must_use]
    pub fn state(&self) -> (Stream, &[u8]) {
        (self.stream, &self.held)
    }

    /// The bytes with the stream that they belong to. Some may be kept until it is clear whether
    /// they are a mark, never as many as one has.
    pub fn split(&mut self, bytes: &[u8]) -> Vec<(Stream, Vec<u8>)> {
        let mut pieces = vec![];
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            if self.held.is_empty() {
                let end = rest.iter().position(|byte| *byte == TO_STDOUT[0]).unwrap_or(rest.len());
                self.give(&mut pieces, &rest[..end]);
                rest = &rest[end..];
                if rest.is_empty() {
                    break;
                }
                self.held.push(TO_STDOUT[0]);
            } else {
                self.held.push(*byte);
            }
            rest = &rest[1..];
            self.settle(&mut pieces);
        }
        pieces
    }

    /// Whether [`ELSEWHERE`] has passed since the last call.
    pub fn goes_on_elsewhere(&mut self) -> bool {
        std::mem::take(&mut self.elsewhere)
    }

    /// What was kept, when nothing more comes.
    pub fn finish(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let held = std::mem::take(&mut self.held);
        let mut pieces = vec![];
        self.give(&mut pieces, &held);
        pieces
    }

    fn settle(&mut self, pieces: &mut Vec<(Stream, Vec<u8>)>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.held == stream.mark() {
                self.stream = stream;
                self.held.clear();
            }
        }
        if self.held == ELSEWHERE {
            self.elsewhere = true;
            self.held.clear();
        }
        let may_be = |held: &[u8]| MARKS.iter().any(|mark| mark.starts_with(held));
        while !may_be(&self.held) {
            let first = self.held.remove(0);
            self.give(pieces, &[first]);
        }
    }

    fn give(&self, pieces: &mut Vec<(Stream, Vec<u8>)>, bytes: &[u8]) {
        match pieces.last_mut() {
            _ if bytes.is_empty() => {}
            Some((stream, piece)) if *stream == self.stream => piece.extend(bytes),
            _ => pieces.push((self.stream, bytes.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All bytes of each stream.
    fn gather(pieces: impl IntoIterator<Item = (Stream, Vec<u8>)>) -> [Vec<u8>; 2] {
        let mut all = [vec![], vec![]];
        for (stream, bytes) in pieces {
            all[usize::from(stream == Stream::Stderr)].extend(bytes);
        }
        all
    }

    /// Bytes of which many look like parts of marks.
    fn words() -> impl Strategy<Value = Vec<u8>> {
        let part = (0..MARK_BYTES, 0..=MARK_BYTES)
            .prop_map(|(from, to)| TO_STDERR.get(from..to).unwrap_or(b"plain").to_vec());
        let no_mark = |bytes: &Vec<u8>| {
            !bytes.windows(MARK_BYTES).any(|part| MARKS.iter().any(|mark| part == mark))
        };
        prop::collection::vec(part, 0..4)
            .prop_map(|parts| parts.concat())
            .prop_filter("mark", no_mark)
    }

    proptest! {
        #[test]
        fn streams_come_apart_however_the_bytes_are_cut(
            pieces in prop::collection::vec((any::<bool>(), words()), 0..8),
            sizes in prop::collection::vec(1usize..20, 1..6),
        ) {
            let pieces: Vec<_> = (pieces.into_iter())
                .map(|(err, words)| (if err { Stream::Stderr } else { Stream::Stdout }, words))
                .collect();
            let mut wire = vec![];
            let mut current = Stream::Stdout;
            for (stream, words) in &pieces {
                if *stream != current {
                    current = *stream;
                    wire.extend(current.mark());
                }
                wire.extend(words);
            }
            // Words that together look like a mark are one; that is known.
            let marks = wire.windows(MARK_BYTES).filter(|part| MARKS.iter().any(|mark| part == mark));
            let switches = pieces.iter().scan(Stream::Stdout, |last, (stream, _)| {
                Some(std::mem::replace(last, *stream) != *stream)
            });
            prop_assume!(marks.count() == switches.filter(|switch| *switch).count());
            let mut splitter = Splitter::default();
            let (mut rest, mut sizes) = (&wire[..], sizes.iter().cycle());
            let mut found = vec![];
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                found.extend(splitter.split(piece));
                prop_assert!(splitter.held.len() < MARK_BYTES);
                // Another one goes on wherever this one stopped.
                let (stream, held) = splitter.state();
                splitter = Splitter::resume(stream, held);
                rest = tail;
            }
            found.extend(splitter.finish());
            prop_assert_eq!(gather(found), gather(pieces));
        }
    }

    #[test]
    fn escapes_of_the_apps_own_come_through() {
        let mut splitter = Splitter::default();
        let text = b"\x1b[31mred\x1b[0m \x1b_launch4\x1b\\ \x1b\x1b_launch2\x1b\\err";
        let pieces = splitter.split(text);
        let [out, err] = gather(pieces);
        assert_eq!(out, b"\x1b[31mred\x1b[0m \x1b_launch4\x1b\\ \x1b");
        assert_eq!(err, b"err");
    }

    #[test]
    fn where_output_goes_on_elsewhere_is_said_once_and_shown_to_nobody() {
        let mut splitter = Splitter::default();
        assert_eq!(gather(splitter.split(b"a\x1b_launch"))[0], b"a");
        assert!(!splitter.goes_on_elsewhere());
        assert_eq!(gather(splitter.split(b"3\x1b\\b"))[0], b"b");
        assert!(splitter.goes_on_elsewhere());
        assert!(!splitter.goes_on_elsewhere());
    }
}
