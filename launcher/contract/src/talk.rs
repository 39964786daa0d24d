//! What dom0 and a running guest say to each other, in frames on a vchan.
//!
//! The guest's `init` is the server of a few vchans, each with a folder below [`FOLDER`] as
//! `libxenvchan` has it, and always keeps a free one. A process in dom0 connects to a free one, sends one
//! [`Hello`], and has the vchan to itself until it closes it.
//!
//! A frame is one byte of kind, three of the payload's length (the lowest first), and the payload.
//! What dom0 reads is bounded: no frame is larger than [`MAX_FRAME_BYTES`]. Standard input has a window, so that a process which reads none keeps no other frame
//! from coming through.

use crate::{Exit, Process, Untrusted};
use serde::{Deserialize, Serialize};

/// The folder of all vchans of a guest, below the domain's own node.
pub const FOLDER: &str = "data/launch/talk";
/// The most vchans that a guest serves at once.
pub const MAX_VCHANS: u32 = 16;
/// Base-2 logarithms of the rings' sizes in bytes: what dom0 writes, and what the guest writes.
pub const RING_ORDERS: (u16, u16) = (15, 16);
/// The most standard input that may be under way, in bytes.
pub const STDIN_WINDOW: u32 = 64 << 10;
/// The largest payload that the guest sends.
pub const MAX_FRAME_BYTES: usize = 64 << 10;
/// The largest payload that dom0 sends, arguments and environment of a process: all that the three
/// bytes of a frame's length can say, some 16 MiB. Linux takes 2 MiB of them, and JSON makes six bytes
/// of one control character.
pub const MAX_HELLO_BYTES: usize = (1 << 24) - 1;

const HEADER_BYTES: usize = 4;

/// The first frame of dom0's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::VERSION`].
    pub version: u32,
    /// What the vchan is for.
    pub request: Request,
}

/// What a vchan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Run a further process beside the app.
    Exec(Exec),
    /// Give the app input, and its terminal a size.
    Attach,
    /// Send the app's output here instead of to the console, which takes 300 KB a second at most:
    /// as [`Answer::Stdout`], with the marks of [`crate::streams`], from where
    /// [`crate::streams::ELSEWHERE`] is on the console, to [`Answer::End`].
    Output,
    /// Tell how much the guest uses.
    Stats,
}

/// A further process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// What to run. Its stop signal and stop time are not used.
    pub process: Process,
    /// Whether it has standard input; otherwise its input is empty.
    pub stdin: bool,
    /// The size of the terminal that it gets in place of pipes.
    pub terminal: Option<Size>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// What the guest uses, by its own kernel's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Memory that the kernel has to give out.
    pub memory_total_bytes: u64,
    /// Memory that could be had without swapping, page cache included.
    pub memory_available_bytes: u64,
    /// Processes, `init` and the kernel's threads not counted.
    pub processes: u64,
}

/// Frames that dom0 sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The first.
    Hello(Hello),
    /// Standard input, within the window.
    Stdin(Vec<u8>),
    /// There is no more of it.
    StdinEnd,
    /// A signal for the process, by its number.
    Signal(i32),
    /// The terminal's new size.
    Resize(Size),
}

/// Frames that the guest sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was asked for has begun, or is done.
    Started,
    /// So many more bytes of standard input may come.
    Taken(u32),
    /// Standard output, or a terminal's.
    Stdout(Vec<u8>),
    /// Standard error.
    Stderr(Vec<u8>),
    /// The process has ended, or never ran.
    Exited(Exit),
    /// What was asked for cannot be, and why.
    Refused(Untrusted),
    /// Figures.
    Stats(Stats),
    /// The app's output has ended.
    End,
}

/// Bytes that are not frames, or frames that this side does not expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A payload beyond the bound.
    #[error("a frame of {0} bytes is longer than the protocol allows")]
    TooLarge(usize),
    /// A kind that this side does not get.
    #[error("a frame has the unknown kind {0}")]
    Kind(u8),
    /// A payload that does not fit its kind.
    #[error("a frame of kind {0} has an invalid payload")]
    Payload(u8),
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const STDIN: u8 = 2;
    pub(super) const STDIN_END: u8 = 3;
    pub(super) const SIGNAL: u8 = 4;
    pub(super) const RESIZE: u8 = 5;
    pub(super) const STARTED: u8 = 16;
    pub(super) const TAKEN: u8 = 17;
    pub(super) const STDOUT: u8 = 18;
    pub(super) const STDERR: u8 = 19;
    pub(super) const EXITED: u8 = 20;
    pub(super) const REFUSED: u8 = 21;
    pub(super) const STATS: u8 = 22;
    pub(super) const END: u8 = 23;
}

impl Hello {
    /// A request in this version.
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self { version: crate::VERSION, request }
    }
}

impl Ask {
    /// Adds the frame's bytes to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => frame(out, kind::HELLO, &json(hello)),
            Self::Stdin(bytes) => frame(out, kind::STDIN, bytes),
            Self::StdinEnd => frame(out, kind::STDIN_END, &[]),
            Self::Signal(number) => frame(out, kind::SIGNAL, &number.to_le_bytes()),
            Self::Resize(Size { rows, columns }) => {
                frame(out, kind::RESIZE, &[rows.to_le_bytes(), columns.to_le_bytes()].concat());
            }
        }
    }

    fn parse(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        let odd = FrameError::Payload(kind);
        Ok(match kind {
            kind::HELLO => Self::Hello(serde_json::from_slice(payload).map_err(|_| odd)?),
            kind::STDIN => Self::Stdin(payload.to_vec()),
            kind::STDIN_END => Self::StdinEnd,
            kind::SIGNAL => Self::Signal(i32::from_le_bytes(exactly(payload).ok_or(odd)?)),
            kind::RESIZE => {
                let [a, b, c, d] = exactly(payload).ok_or(odd)?;
                let number = u16::from_le_bytes;
                Self::Resize(Size { rows: number([a, b]), columns: number([c, d]) })
            }
            _ => return Err(FrameError::Kind(kind)),
        })
    }
}

impl Answer {
    /// Adds the frame's bytes to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        match self {
            Self::Started => frame(out, kind::STARTED, &[]),
            Self::Taken(count) => frame(out, kind::TAKEN, &count.to_le_bytes()),
            Self::Stdout(bytes) => frame(out, kind::STDOUT, bytes),
            Self::Stderr(bytes) => frame(out, kind::STDERR, bytes),
            Self::Exited(exit) => frame(out, kind::EXITED, &json(exit)),
            Self::Refused(why) => frame(out, kind::REFUSED, why.raw().as_bytes()),
            Self::Stats(stats) => frame(out, kind::STATS, &json(stats)),
            Self::End => frame(out, kind::END, &[]),
        }
    }

    fn parse(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        let odd = FrameError::Payload(kind);
        Ok(match kind {
            kind::STARTED => Self::Started,
            kind::TAKEN => Self::Taken(u32::from_le_bytes(exactly(payload).ok_or(odd)?)),
            kind::STDOUT => Self::Stdout(payload.to_vec()),
            kind::STDERR => Self::Stderr(payload.to_vec()),
            kind::EXITED => Self::Exited(serde_json::from_slice(payload).map_err(|_| odd)?),
            kind::REFUSED => Self::Refused(payload.into()),
            kind::STATS => Self::Stats(serde_json::from_slice(payload).map_err(|_| odd)?),
            kind::END => Self::End,
            _ => return Err(FrameError::Kind(kind)),
        })
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    // No payload reaches 16 MiB: hellos are checked, output is cut into pieces.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).min((1 << 24) - 1);
    out.push(kind);
    out.extend(&length.to_le_bytes()[..3]);
    out.extend(&payload[..length as usize]);
}

#[expect(clippy::expect_used, reason = "strings and numbers always serialize")]
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a frame serializes")
}

fn exactly<const N: usize>(payload: &[u8]) -> Option<[u8; N]> {
    payload.try_into().ok()
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct Decoder<T> {
    bytes: Vec<u8>,
    /// How many of `bytes` are taken already.
    taken: usize,
    max_payload: usize,
    parse: fn(u8, &[u8]) -> Result<T, FrameError>,
}

impl Decoder<Ask> {
    /// For the guest.
    #[must_use]
    pub fn asks() -> Self {
        Self { bytes: vec![], taken: 0, max_payload: MAX_HELLO_BYTES, parse: Ask::parse }
    }
}

impl Decoder<Answer> {
    /// For dom0.
    #[must_use]
    pub fn answers() -> Self {
        Self { bytes: vec![], taken: 0, max_payload: MAX_FRAME_BYTES, parse: Answer::parse }
    }
}

impl<T> Decoder<T> {
    /// Adds bytes that came. Between calls all frames should be taken: what is not yet a frame
    /// is kept, and it is never more than one.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        // The memory of a long hello is not kept for as long as its process runs.
        if self.bytes.is_empty() && self.bytes.capacity() > 2 * MAX_FRAME_BYTES {
            self.bytes = vec![];
        }
        self.bytes.extend(bytes);
    }

    /// The next frame that is there as a whole.
    ///
    /// # Errors
    /// There is none: after an error nothing that follows can be told apart.
    pub fn next_frame(&mut self) -> Result<Option<T>, FrameError> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((&[kind, a, b, c], body)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        if length > self.max_payload {
            return Err(FrameError::TooLarge(length));
        }
        let Some(payload) = body.get(..length) else { return Ok(None) };
        let frame = (self.parse)(kind, payload)?;
        self.taken += HEADER_BYTES + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask() -> impl Strategy<Value = Ask> {
        let exec = (prop::collection::vec(".*", 0..4), any::<bool>(), any::<Option<(u16, u16)>>());
        let exec = exec.prop_map(|(args, stdin, size)| {
            let terminal = size.map(|(rows, columns)| Size { rows, columns });
            let process = Process { args, ..Process::default() };
            Ask::Hello(Hello::new(Request::Exec(Exec { process, stdin, terminal })))
        });
        prop_oneof![
            exec,
            Just(Ask::Hello(Hello::new(Request::Attach))),
            any::<Vec<u8>>().prop_map(Ask::Stdin),
            Just(Ask::StdinEnd),
            any::<i32>().prop_map(Ask::Signal),
            any::<(u16, u16)>().prop_map(|(rows, columns)| Ask::Resize(Size { rows, columns })),
        ]
    }

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            Just(Answer::Started),
            Just(Answer::End),
            any::<u32>().prop_map(Answer::Taken),
            any::<Vec<u8>>().prop_map(Answer::Stdout),
            any::<Vec<u8>>().prop_map(Answer::Stderr),
            any::<u8>().prop_map(|code| Answer::Exited(Exit::Code(code))),
            any::<String>().prop_map(|why| Answer::Refused(why.into())),
            any::<u64>()
                .prop_map(|processes| Answer::Stats(Stats { processes, ..Stats::default() })),
        ]
    }

    /// Feeds `bytes` in pieces of these sizes, over and over.
    fn decode<T>(mut decoder: Decoder<T>, bytes: &[u8], sizes: &[usize]) -> Vec<T> {
        let mut frames = vec![];
        let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            decoder.feed(piece);
            rest = tail;
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    proptest! {
        #[test]
        fn frames_come_back_however_the_bytes_are_cut(
            asks in prop::collection::vec(ask(), 0..8),
            answers in prop::collection::vec(answer(), 0..8),
            sizes in prop::collection::vec(1usize..50, 1..8),
        ) {
            let (mut one, mut other) = (vec![], vec![]);
            asks.iter().for_each(|frame| frame.render(&mut one));
            answers.iter().for_each(|frame| frame.render(&mut other));
            prop_assert_eq!(decode(Decoder::asks(), &one, &sizes), asks);
            prop_assert_eq!(decode(Decoder::answers(), &other, &sizes), answers);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error_and_never_kept_without_bound(
            pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20),
        ) {
            let mut decoder = Decoder::answers();
            'all: for piece in pieces {
                decoder.feed(&piece);
                loop {
                    match decoder.next_frame() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
                prop_assert!(decoder.bytes.len() <= HEADER_BYTES + MAX_FRAME_BYTES + piece.len());
            }
        }
    }

    #[test]
    fn a_guests_frame_beyond_the_bound_is_refused_before_it_is_there() {
        let mut decoder = Decoder::answers();
        decoder.feed(&[kind::STDOUT, 1, 0, 1]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge((64 << 10) + 1)));
    }

    #[test]
    fn a_guests_words_do_not_reach_the_terminal_as_they_are() {
        let mut bytes = vec![];
        frame(&mut bytes, kind::REFUSED, b"a\x1b[2Jb\nc\xff");
        let message = "x\u{1b}y".into();
        frame(&mut bytes, kind::EXITED, &json(&Exit::NotStarted { code: 127, message }));
        let frames = decode(Decoder::answers(), &bytes, &[100]);
        let Answer::Refused(why) = &frames[0] else { panic!("{frames:?}") };
        assert_eq!(why.to_string(), "a\u{fffd}[2Jb c\u{fffd}");
        let Answer::Exited(Exit::NotStarted { message, .. }) = &frames[1] else {
            panic!("{frames:?}")
        };
        assert_eq!(message.to_string(), "x\u{fffd}y");
        assert!(!format!("{frames:?}").contains('\u{1b}'));
    }

    #[test]
    fn a_hello_of_the_largest_size_is_taken_and_its_memory_given_back() {
        let arg = "x".repeat(2 << 20);
        let process = Process { args: vec![arg; 7], ..Process::default() };
        let hello = Hello::new(Request::Exec(Exec { process, stdin: false, terminal: None }));
        let mut bytes = vec![];
        Ask::Hello(hello.clone()).render(&mut bytes);
        assert!((14 << 20..=MAX_HELLO_BYTES).contains(&bytes.len()));
        let mut decoder = Decoder::asks();
        let frames: Vec<_> = (bytes.chunks(16 << 10))
            .filter_map(|piece| {
                decoder.feed(piece);
                decoder.next_frame().unwrap()
            })
            .collect();
        assert_eq!(frames, [Ask::Hello(hello)]);
        decoder.feed(&[]);
        assert!(decoder.bytes.capacity() <= 2 * MAX_FRAME_BYTES);
    }

    #[test]
    fn what_only_dom0_says_is_not_taken_from_a_guest() {
        let mut bytes = vec![];
        Ask::StdinEnd.render(&mut bytes);
        let mut decoder = Decoder::answers();
        decoder.feed(&bytes);
        assert_eq!(decoder.next_frame(), Err(FrameError::Kind(kind::STDIN_END)));
    }
}
