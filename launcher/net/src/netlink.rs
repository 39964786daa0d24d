//! The netlink protocol: framing, attributes, and requests with their answers.
//!
//! Synchronous: a request to the kernel is one `send`, and the answers are in the socket when it returns. Layouts:
//! `linux/netlink.h`.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send,
    socket_with,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x001;
/// `NLM_F_ACK`: answer even if the request succeeds.
pub(crate) const ACK: u16 = 0x004;
/// `NLM_F_DUMP`: answer with all objects.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`: create the object if it does not exist.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_REPLACE`: change the object if it exists.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail if the object exists.
pub(crate) const EXCLUSIVE: u16 = 0x200;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `NLA_F_NESTED`, in an attribute's type. With `NLA_F_NET_BYTEORDER` it is above the bits of the type itself.
pub(crate) const NESTED: u16 = 0x8000;
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// The most bytes that the kernel puts into one answer.
const BUFFER: usize = 32 * 1024;

/// One message under construction.
#[derive(Debug)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// Begins a message; `header` is the fixed structure at the start of the message type.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        pad(&mut bytes);
        Self(bytes)
    }

    /// Adds an attribute.
    ///
    /// # Panics
    /// The value exceeds 64 KiB, which no caller passes.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(&value[..usize::from(length) - 4]);
        pad(&mut self.0);
    }

    /// Adds a text with a final NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    /// Adds an attribute whose value consists of attributes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.attribute(kind | NESTED, &[]);
        fill(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One answer: its type, and the bytes after the netlink header.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

/// A netlink socket.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket to a netlink family (`None`: rtnetlink, number 0) that receives the events of the multicast
    /// `groups`.
    pub(crate) fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let fd =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; BUFFER] })
    }

    /// Sends the messages at once and collects the answers; stops at the first error.
    ///
    /// Each message must ask for an [`ACK`] or be a [`DUMP`], except the begin and end of a batch.
    pub(crate) fn ask(&mut self, messages: Vec<Message>) -> io::Result<Vec<Answer>> {
        let mut bytes = Vec::with_capacity(256);
        let mut open = 0_usize;
        for (message, sequence) in messages.into_iter().zip(1..) {
            let flags = u16::from_ne_bytes([message.0[6], message.0[7]]);
            open += usize::from(flags & (ACK | DUMP) != 0);
            bytes.extend_from_slice(&message.finish(sequence));
        }
        if send(&self.fd, &bytes, SendFlags::empty())? != bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut answers = Vec::new();
        while open > 0 {
            for answer in self.receive()? {
                match answer.kind {
                    NLMSG_ERROR => {
                        check(&answer)?;
                        open = open.saturating_sub(1);
                    }
                    NLMSG_DONE => open = open.saturating_sub(1),
                    _ => answers.push(answer),
                }
            }
        }
        Ok(answers)
    }

    /// Sets how long [`Self::receive`] waits.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        // Zero would mean forever.
        let timeout = timeout.max(Duration::from_millis(1));
        rustix::net::sockopt::set_socket_timeout(
            &self.fd,
            rustix::net::sockopt::Timeout::Recv,
            Some(timeout),
        )?;
        Ok(())
    }

    /// Waits for one datagram and splits it into answers.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<Answer>> {
        let length = loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?.1,
            }
        };
        let bytes = self.buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        split(bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Returns an error if the message carries a negative error number.
fn check(answer: &Answer) -> io::Result<()> {
    match answer.body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn split(mut bytes: &[u8]) -> Option<Vec<Answer>> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let length = usize::try_from(read_u32(bytes, 0)?).ok()?;
        let kind = read_u16(bytes, 4)?;
        answers.push(Answer { kind, body: bytes.get(HEADER..length)?.to_vec() });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(answers)
}

/// The attributes in `bytes` from `start` on; stops at a malformed one.
pub(crate) fn attributes(bytes: &[u8], start: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes.get(start..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(rest, 0)?);
        let kind = read_u16(rest, 2)? & ATTRIBUTE_TYPE;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub(crate) fn attribute(bytes: &[u8], start: usize, kind: u16) -> Option<&[u8]> {
    attributes(bytes, start).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_has_the_layout_that_strace_shows_of_other_programs() {
        let mut message = Message::new(0x0a0c, CREATE, &[2, 0, 0, 0]);
        message.text(1, "launch");
        message.nest(3, |list| list.attribute(1, &[0x11]));
        #[rustfmt::skip]
        let expected = [
            0x2c, 0, 0, 0, 0x0c, 0x0a, 0x01, 0x04, 7, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0,
            0x0b, 0, 1, 0, b'l', b'a', b'u', b'n', b'c', b'h', 0, 0,
            0x0c, 0, 3, 0x80, 5, 0, 1, 0, 0x11, 0, 0, 0,
        ];
        assert_eq!(message.finish(7), expected);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut message = Message::new(16, ACK, &[0; 16]);
        message.text(3, "launch0");
        message.nest(18, |info| info.text(1, "bridge"));
        let answers = split(&message.finish(1)).unwrap();
        assert_eq!(answers[0].kind, 16);
        assert_eq!(attribute(&answers[0].body, 16, 3).unwrap(), b"launch0\0");
        let info = attribute(&answers[0].body, 16, 18).unwrap();
        assert_eq!(attribute(info, 0, 1).unwrap(), b"bridge\0");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_hang(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for answer in split(&bytes).unwrap_or_default() {
                attributes(&answer.body, 4).count();
            }
        }
    }
}
