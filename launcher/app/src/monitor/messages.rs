//! The messages between the monitor's two processes, as packets on a socket pair.
//!
//! The keeper (root, without a fence) does not trust the reader, because the reader has parsed data of the guest. So
//! each message has a bound, and consists only of numbers, lengths and short texts.

use crate::monitor::limiter::Debt;
use contract::{Exit, Mark, Report, Stream};

/// The largest packet in either direction.
pub(super) const MAX_PACKET_BYTES: usize = 96 << 10;
/// The most bytes of a text other than a start set.
const MAX_TEXT_BYTES: usize = 512;
const MAX_MARKS: usize = 32;
/// The most bytes that a reader may hold back: less than a mark of [`contract::streams`].
const MAX_HELD_BYTES: usize = contract::streams::MARK_BYTES;
const MAX_SET_BYTES: usize = contract::store::MAX_START_SET_BYTES;

/// A message from the keeper to the reader. Its texts are the guest's, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Parse this report; answered by [`Word::Report`].
    Report(String),
    /// Parse the start set in these nodes; answered by [`Word::StartSet`].
    StartSet(Vec<String>),
    /// The packet carries the next file of the log.
    NextLog,
    /// The keeper cannot make a next file, so the log does not continue.
    NoLog,
    /// The app has ended: read the remaining output, then end; answered by [`Word::Drained`].
    Drain,
}

/// A message from the reader to the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The guest's report; `None` if it is not valid.
    Report(Option<Report>),
    /// The guest's start set as JSON within its bounds; `None` if it is not valid.
    StartSet(Option<String>),
    /// The file of the log is full; answered by [`Order::NextLog`] or [`Order::NoLog`].
    LogFull,
    /// The reader ends; the next one must continue with a vchan for the app's output.
    WantsVchan(Progress),
    /// A line for the monitor's own log.
    Said(String),
    /// The reader has read all output, and ends.
    Drained,
    /// The reader could not set up its fence, and ends without having read anything.
    Unfenced,
}

/// The point at which a reader stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) stream: Stream,
    /// The last bytes of the console, if a mark may begin with them.
    pub(super) held: Vec<u8>,
    /// How often the guest was recently asked for a vchan.
    pub(super) asks: u8,
    /// What the reader has used of its budgets.
    pub(super) debt: Debt,
}

impl Order {
    /// Renders the packet. Leaves out texts that are too long.
    pub(super) fn render(&self) -> Vec<u8> {
        match self {
            Self::Report(text) => packet(1, |out| put_text(out, text, usize::MAX)),
            Self::StartSet(nodes) => {
                packet(2, |out| nodes.iter().for_each(|node| put_text(out, node, usize::MAX)))
            }
            Self::NextLog => vec![3],
            Self::NoLog => vec![4],
            Self::Drain => vec![5],
        }
    }

    /// Parses a packet; `None` if it is not valid.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let mut input = Input(packet);
        let order = match input.byte()? {
            1 => Self::Report(input.text(MAX_PACKET_BYTES)?),
            2 => {
                let mut nodes = vec![];
                while !input.0.is_empty() {
                    nodes.push(input.text(MAX_PACKET_BYTES)?);
                }
                Self::StartSet(nodes)
            }
            3 => Self::NextLog,
            4 => Self::NoLog,
            5 => Self::Drain,
            _ => return None,
        };
        input.0.is_empty().then_some(order)
    }
}

impl Word {
    /// Renders the packet. Cuts texts that are too long.
    pub(super) fn render(&self) -> Vec<u8> {
        match self {
            Self::Report(None) => vec![1],
            Self::Report(Some(report)) => packet(2, |out| put_report(out, report)),
            Self::StartSet(None) => vec![3],
            Self::StartSet(Some(json)) => packet(4, |out| put_text(out, json, MAX_SET_BYTES)),
            Self::LogFull => vec![5],
            Self::WantsVchan(Progress { stream, held, asks, debt }) => packet(6, |out| {
                out.extend([u8::from(*stream == Stream::Stderr), *asks]);
                out.extend(debt.bytes.to_le_bytes());
                out.extend(debt.processor_ns.to_le_bytes());
                out.extend(held.iter().take(MAX_HELD_BYTES));
            }),
            Self::Said(text) => packet(7, |out| put_text(out, text, MAX_TEXT_BYTES)),
            Self::Drained => vec![8],
            Self::Unfenced => vec![9],
        }
    }

    /// Parses a packet; `None` if it is not valid. Returns texts on one line, without control characters.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let mut input = Input(packet);
        let word = match input.byte()? {
            1 => Self::Report(None),
            2 => Self::Report(Some(take_report(&mut input)?)),
            3 => Self::StartSet(None),
            4 => Self::StartSet(Some(input.text(MAX_SET_BYTES)?)),
            5 => Self::LogFull,
            6 => {
                let stream = match input.byte()? {
                    0 => Stream::Stdout,
                    1 => Stream::Stderr,
                    _ => return None,
                };
                let asks = input.byte()?;
                let debt = Debt { bytes: input.number()?, processor_ns: input.number()? };
                let held = std::mem::take(&mut input.0).to_vec();
                if held.len() > MAX_HELD_BYTES {
                    return None;
                }
                Self::WantsVchan(Progress { stream, held, asks, debt })
            }
            7 => Self::Said(input.line()?),
            8 => Self::Drained,
            9 => Self::Unfenced,
            _ => return None,
        };
        input.0.is_empty().then_some(word)
    }
}

fn put_report(out: &mut Vec<u8>, report: &Report) {
    out.extend(report.version.to_le_bytes());
    let flags = [report.zero_unix_us.is_some(), report.out_of_memory].map(u8::from);
    out.extend(flags);
    out.extend(report.zero_unix_us.unwrap_or_default().to_le_bytes());
    match &report.exit {
        None => out.push(0),
        Some(Exit::Code(code)) => out.extend([1, *code]),
        Some(Exit::Signal(signal)) => out.extend([2, *signal]),
        Some(Exit::NotStarted { code, message }) => {
            out.extend([3, *code]);
            put_text(out, message.raw(), MAX_TEXT_BYTES);
        }
    }
    for Mark { step, at_us } in report.marks.iter().take(MAX_MARKS) {
        out.extend(at_us.to_le_bytes());
        put_text(out, step.raw(), MAX_TEXT_BYTES);
    }
}

fn take_report(input: &mut Input<'_>) -> Option<Report> {
    let version = u32::from_le_bytes(input.bytes()?);
    let [has_zero, out_of_memory] = input.bytes()?.map(|flag| flag != 0);
    let zero = input.number()?;
    let exit = match input.byte()? {
        0 => None,
        1 => Some(Exit::Code(input.byte()?)),
        2 => Some(Exit::Signal(input.byte()?)),
        3 => Some(Exit::NotStarted { code: input.byte()?, message: input.line()?.into() }),
        _ => return None,
    };
    let mut marks = vec![];
    while !input.0.is_empty() && marks.len() < MAX_MARKS {
        marks.push(Mark { at_us: input.number()?, step: input.line()?.into() });
    }
    Some(Report { version, exit, out_of_memory, marks, zero_unix_us: has_zero.then_some(zero) })
}

fn packet(kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![kind];
    fill(&mut out);
    out
}

fn put_text(out: &mut Vec<u8>, text: &str, max_bytes: usize) {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend(u32::try_from(end).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(&text.as_bytes()[..end]);
}

/// The unparsed rest of a packet.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn text(&mut self, max_bytes: usize) -> Option<String> {
        let length = usize::try_from(u32::from_le_bytes(self.bytes()?)).ok()?;
        if length > max_bytes {
            return None;
        }
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    fn line(&mut self) -> Option<String> {
        let text = self.text(MAX_TEXT_BYTES)?;
        Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> Report {
        let mark = |at_us| Mark { step: "exec".into(), at_us };
        let marks = (0..32).map(mark).collect();
        let exit = Some(Exit::NotStarted { code: 127, message: "no such file".into() });
        Report { version: 3, exit, out_of_memory: true, marks, zero_unix_us: Some(7) }
    }

    #[test]
    fn what_one_process_says_the_other_hears() {
        let orders = [
            Order::Report("{}".into()),
            Order::StartSet(vec!["2 a".into(), "b".into()]),
            Order::StartSet(vec![]),
            Order::NextLog,
            Order::NoLog,
            Order::Drain,
        ];
        for order in orders {
            assert_eq!(Order::parse(&order.render()), Some(order));
        }
        let debt = Debt { bytes: 1 << 40, processor_ns: 5 };
        let progress = Progress { stream: Stream::Stderr, held: b"\x1b_".to_vec(), asks: 3, debt };
        let words = [
            Word::Report(None),
            Word::Report(Some(report())),
            Word::Report(Some(Report {
                exit: None,
                out_of_memory: false,
                marks: vec![],
                zero_unix_us: None,
                version: 3,
            })),
            Word::Report(Some(Report { exit: Some(Exit::Signal(9)), ..report() })),
            Word::Report(Some(Report { exit: Some(Exit::Code(3)), ..report() })),
            Word::StartSet(None),
            Word::StartSet(Some("x".repeat(MAX_SET_BYTES))),
            Word::LogFull,
            Word::WantsVchan(progress),
            Word::Said("why".into()),
            Word::Drained,
            Word::Unfenced,
        ];
        for word in words {
            assert_eq!(Word::parse(&word.render()), Some(word));
        }
    }

    #[test]
    fn a_reader_that_was_taken_over_can_say_nothing_too_long_and_nothing_for_a_terminal() {
        let long = Word::Said("\u{e9}\x1b[2J\n".repeat(5000)).render();
        assert!(long.len() <= MAX_TEXT_BYTES + 5, "{}", long.len());
        let Some(Word::Said(text)) = Word::parse(&long) else { panic!("not heard") };
        assert!(text.starts_with("\u{e9} [2J ") && !text.contains(char::is_control), "{text:?}");
        let too_long = packet(7, |out| {
            out.extend(513u32.to_le_bytes());
            out.extend([b'x'; 513]);
        });
        assert_eq!(Word::parse(&too_long), None);
        let mut more = Word::Report(Some(report())).render();
        more.push(0);
        assert_eq!(Word::parse(&more), None, "a 33rd mark");
        assert_eq!(Word::parse(&[6, 2]), None);
        assert_eq!(Word::parse(&packet(6, |out| out.extend([0; 18 + 12]))), None);
        assert_eq!(Word::parse(&[]), None);
    }

    proptest! {
        #[test]
        fn any_packet_is_a_message_or_none(packet in any::<Vec<u8>>(), kind in 0u8..10) {
            for packet in [packet.clone(), [&[kind][..], &packet].concat()] {
                if let Some(word) = Word::parse(&packet) {
                    prop_assert_eq!(Word::parse(&word.render()), Some(word));
                }
                let _ = Order::parse(&packet);
            }
        }
    }
}
