//! Just enough rtnetlink: several requests in one message to the kernel, one answer back.
//!
//! Layouts: `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if_addr.h`, `linux/neighbour.h`.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// `NLM_F_REQUEST`
const REQUEST: u16 = 0x01;
/// `NLM_F_ACK`
const ACK: u16 = 0x04;
/// `NLM_F_REPLACE`
pub const REPLACE: u16 = 0x100;
/// `NLM_F_CREATE`
pub const CREATE: u16 = 0x400;
/// `NLMSG_ERROR`; carries 0 for success.
const ERROR: u16 = 2;
/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// Where its flags are.
const FLAGS_AT: usize = 6;

/// Requests that go to the kernel together; it carries them out in order.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Batch {
    /// Adds a request: its type, further flags, the fixed part behind the header, and attributes.
    pub fn push(&mut self, kind: u16, flags: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) {
        let start = self.bytes.len();
        let sequence = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        self.starts.push(start);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        for (kind, value) in attributes {
            self.align();
            self.bytes.extend(attribute(*kind, value));
        }
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Asks for one answer, after the last request. Failures are answered in any case.
    fn ask_for_answer(&mut self) {
        if let Some(last) = self.starts.last() {
            let at = last + FLAGS_AT;
            let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ACK;
            self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
        }
    }
}

/// An attribute, which may be another's value; not padded.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
}

/// Why a batch was not carried out whole.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The kernel refused one request; it carried out those after it all the same.
    #[error("request {index} was refused")]
    Refused {
        /// Which one, in the order they were pushed.
        index: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// There was no exchange at all.
    #[error("cannot speak to the kernel by rtnetlink")]
    Socket(#[from] Errno),
}

/// An rtnetlink socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// The kernel has no rtnetlink.
    pub fn open() -> Result<Self, Errno> {
        // NETLINK_ROUTE is protocol 0.
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map(Self)
    }

    /// Opens one that receives a message whenever an interface changes.
    ///
    /// # Errors
    /// The kernel has no rtnetlink.
    pub fn open_link_changes() -> Result<Self, Errno> {
        const LINK_GROUP: u32 = 1;
        let socket = Self::open()?;
        bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP))?;
        Ok(socket)
    }

    /// Waits for a message and drops it. Returns whether one came within `timeout`.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let came = matches!(poll(&mut fds, Some(&timeout)), Ok(1..));
        if came {
            let _ = recv(&self.0, &mut [0u8; 64][..], RecvFlags::empty());
        }
        came
    }

    /// Has the kernel carry out `batch`.
    ///
    /// # Errors
    /// The first request that was refused.
    pub fn carry_out(&self, mut batch: Batch) -> Result<(), BatchError> {
        batch.ask_for_answer();
        let Some(last) = batch.starts.len().checked_sub(1) else { return Ok(()) };
        send(&self.0, &batch.bytes, SendFlags::empty())?;
        let mut refused = None;
        let mut answer = [0u8; 8192];
        loop {
            let (got, _) = recv(&self.0, &mut answer[..], RecvFlags::empty())?;
            for (index, errno) in answers(&answer[..got]) {
                if errno != 0 && refused.is_none() {
                    let source = io::Error::from_raw_os_error(errno.saturating_neg());
                    refused = Some(BatchError::Refused { index, source });
                }
                if index == last {
                    return refused.map_or(Ok(()), Err);
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sequence number and negative errno of each `NLMSG_ERROR` in `bytes`.
fn answers(mut bytes: &[u8]) -> Vec<(usize, i32)> {
    let mut found = Vec::new();
    while bytes.len() >= HEADER + 4 {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if u16::from_ne_bytes([bytes[4], bytes[5]]) == ERROR {
            let sequence = u32::from_ne_bytes(word(8));
            let index = usize::try_from(sequence).unwrap_or(usize::MAX);
            found.push((index, i32::from_ne_bytes(word(HEADER))));
        }
        let length = usize::try_from(u32::from_ne_bytes(word(0))).unwrap_or(usize::MAX);
        let step = length.max(HEADER).checked_next_multiple_of(4).unwrap_or(usize::MAX);
        bytes = bytes.get(step..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_request_asks_for_an_answer() {
        let mut batch = Batch::default();
        batch.push(16, 0, &[1; 16], &[(3, b"abcde")]);
        batch.push(20, CREATE, &[], &[]);
        batch.ask_for_answer();
        // 16 header + 16 fixed + 4 attribute header + 5 value = 41, padded to 44.
        assert_eq!(batch.starts, [0, 44]);
        assert_eq!(batch.bytes[..4], 41u32.to_ne_bytes());
        assert_eq!(batch.bytes[FLAGS_AT..8], REQUEST.to_ne_bytes());
        assert_eq!(batch.bytes[44 + FLAGS_AT..52], (REQUEST | CREATE | ACK).to_ne_bytes());
    }

    #[test]
    fn a_refusal_names_the_request_that_was_refused() {
        let socket = Socket::open().unwrap();
        let mut batch = Batch::default();
        batch.push(16, 0, &[0; 16], &[]); // RTM_NEWLINK of no link
        batch.push(18, 0, &[0; 16], &[]); // RTM_GETLINK of no link
        let error = socket.carry_out(batch).unwrap_err();
        assert!(matches!(error, BatchError::Refused { index: 0, .. }), "{error}");
    }
}
