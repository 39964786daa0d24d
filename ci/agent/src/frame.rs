//! Frames between the lab's command line and its agent in dom0, with one TCP connection for each command.
//!
//! A frame is a kind (1 byte), a length (4 bytes, little endian) and as many bytes of payload.

use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};

/// The port on which the agent listens in dom0.
pub const AGENT_PORT: u16 = 7707;

/// The longest payload of a frame; a longer one is an error of the other side.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// The client's first request: run `argv`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Shared secret that keeps out other users of the host.
    pub token: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables to add to the agent's own environment.
    pub env: Vec<(String, String)>,
    /// Rows and columns, if the command needs a terminal.
    pub terminal: Option<(u16, u16)>,
}

/// One message, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Client: run this command. Always the first frame.
    Start(Start),
    /// Client: bytes for the command's standard input.
    Stdin(Vec<u8>),
    /// Client: end of the input.
    StdinEnd,
    /// Client: send this signal to the command's process group.
    Signal(i32),
    /// Client: the terminal now has this many rows and columns.
    Resize(u16, u16),
    /// Agent: the command has started.
    Started,
    /// Agent: bytes from standard output (or the terminal).
    Stdout(Vec<u8>),
    /// Agent: bytes from standard error.
    Stderr(Vec<u8>),
    /// Agent: the command ended with this code (128 + signal if it was killed). Always the last frame.
    Exit(i32),
    /// Agent: the command could not be started. Always the last frame.
    Failed(String),
}

impl Frame {
    /// Writes the frame in one piece.
    ///
    /// # Errors
    /// The error of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (kind, payload): (u8, Vec<u8>) = match self {
            Self::Start(start) => (1, serde_json::to_vec(start)?),
            Self::Stdin(bytes) => (2, bytes.clone()),
            Self::StdinEnd => (3, Vec::new()),
            Self::Signal(number) => (4, number.to_le_bytes().into()),
            Self::Resize(rows, columns) => {
                (5, [rows.to_le_bytes(), columns.to_le_bytes()].concat())
            }
            Self::Started => (16, Vec::new()),
            Self::Stdout(bytes) => (17, bytes.clone()),
            Self::Stderr(bytes) => (18, bytes.clone()),
            Self::Exit(code) => (19, code.to_le_bytes().into()),
            Self::Failed(text) => (20, text.clone().into_bytes()),
        };
        let length = u32::try_from(payload.len()).map_err(|_| malformed("frame too long"))?;
        let mut bytes = vec![kind];
        bytes.extend(length.to_le_bytes());
        bytes.extend(payload);
        out.write_all(&bytes)
    }

    /// Reads one frame; `None` if the other side closed the connection between two frames.
    ///
    /// # Errors
    /// The error of `input`, or `InvalidData` for an unknown kind or a wrong length.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut kind = [0];
        loop {
            match input.read(&mut kind) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD_BYTES {
            return Err(malformed("frame too long"));
        }
        let mut payload = vec![0; length];
        input.read_exact(&mut payload)?;
        Self::parse(kind[0], payload).map(Some)
    }

    fn parse(kind: u8, payload: Vec<u8>) -> io::Result<Self> {
        Ok(match kind {
            1 => Self::Start(serde_json::from_slice(&payload)?),
            2 => Self::Stdin(payload),
            3 => Self::StdinEnd,
            4 => Self::Signal(i32::from_le_bytes(fixed(&payload)?)),
            5 => {
                let [a, b, c, d] = fixed(&payload)?;
                Self::Resize(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
            }
            16 => Self::Started,
            17 => Self::Stdout(payload),
            18 => Self::Stderr(payload),
            19 => Self::Exit(i32::from_le_bytes(fixed(&payload)?)),
            20 => Self::Failed(String::from_utf8_lossy(&payload).into_owned()),
            other => return Err(malformed(&format!("unknown frame kind {other}"))),
        })
    }
}

fn fixed(payload: &[u8]) -> io::Result<[u8; 4]> {
    payload.try_into().map_err(|_| malformed("frame of a wrong length"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<Frame> {
        vec![
            Frame::Start(Start {
                token: "secret".into(),
                argv: vec!["xl".into(), "list".into()],
                env: vec![("A".into(), "b c".into())],
                terminal: Some((24, 80)),
            }),
            Frame::Stdin(vec![0, 255, 10]),
            Frame::StdinEnd,
            Frame::Signal(2),
            Frame::Resize(50, 132),
            Frame::Started,
            Frame::Stdout(Vec::new()),
            Frame::Stderr(b"no".to_vec()),
            Frame::Exit(-1),
            Frame::Failed("no such file".into()),
        ]
    }

    #[test]
    fn every_frame_comes_back_as_it_was_sent() {
        let mut wire = Vec::new();
        for frame in every_kind() {
            frame.write(&mut wire).unwrap();
        }
        let mut input = wire.as_slice();
        for frame in every_kind() {
            assert_eq!(Frame::read(&mut input).unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut input).unwrap(), None);
    }

    #[test]
    fn a_cut_frame_is_an_error_and_not_an_end() {
        let mut wire = Vec::new();
        Frame::Stdout(b"hello".to_vec()).write(&mut wire).unwrap();
        for length in 1..wire.len() {
            let error = Frame::read(&mut &wire[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{length} bytes");
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_it_is_read() {
        let error = Frame::read(&mut [17, 255, 255, 255, 255].as_slice()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn unknown_kinds_and_wrong_lengths_are_refused() {
        let error = |mut bytes: &[u8]| Frame::read(&mut bytes).unwrap_err().to_string();
        assert_eq!(error(&[99, 0, 0, 0, 0]), "unknown frame kind 99");
        assert_eq!(error(&[4, 1, 0, 0, 0, 2]), "frame of a wrong length");
    }
}
