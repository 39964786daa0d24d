//! The socket between launcher and child: framed JSON, each frame with at most one open file.
//!
//! A frame is its length (4 bytes, little-endian) and that many bytes of JSON; the file travels
//! with the length.

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

/// The longest JSON accepted. An image's config is at most 8 MiB, but may grow when it is rendered again.
const MAX_FRAME: usize = 32 << 20;

/// One end of the socket.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    pub(super) fn pair() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(ours), theirs))
    }

    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let json = serde_json::to_vec(message)?;
        let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MAX_FRAME);
        let length = length.ok_or_else(|| io::Error::other("message too long"))?.to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let files = file.map(|file| [file]);
        if let Some(files) = &files {
            rights.push(SendAncillaryMessage::ScmRights(files));
        }
        // MSG_NOSIGNAL: a child that died is an error here, not SIGPIPE.
        let sent =
            retry(|| sendmsg(&self.0, &[IoSlice::new(&length)], &mut rights, SendFlags::NOSIGNAL))?;
        self.write_all(&length[sent..])?;
        self.write_all(&json)
    }

    /// The next message and the file that came with it; `None` when the other end is gone.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Option<File>)>> {
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let received = retry(|| {
            let mut buffers = [IoSliceMut::new(&mut length)];
            recvmsg(&self.0, &mut buffers, &mut rights, RecvFlags::CMSG_CLOEXEC)
        });
        let count = match received {
            // A peer that dies with unread messages resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            other => other?.bytes,
        };
        if count == 0 {
            return Ok(None);
        }
        let mut files: Vec<OwnedFd> = Vec::new();
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        (&self.0).read_exact(&mut length[count..])?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(io::Error::other("message too long"));
        }
        let mut json = Vec::new();
        (&self.0).take(length as u64).read_to_end(&mut json)?;
        if json.len() < length {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&json)?, files.pop().map(File::from))))
    }

    /// The same end once more, for another thread.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Ends the conversation; the other end sees it at once.
    pub(super) fn shut(&self) -> io::Result<()> {
        self.0.shutdown(std::net::Shutdown::Both)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = retry(|| {
                let mut none = SendAncillaryBuffer::default();
                sendmsg(self.0.as_fd(), &[IoSlice::new(bytes)], &mut none, SendFlags::NOSIGNAL)
            })?;
            bytes = &bytes[sent..];
        }
        self.0.flush()
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other.map_err(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek as _;

    #[test]
    fn messages_and_their_files_arrive_in_order() {
        let (mut one, other) = Channel::pair().unwrap();
        let mut other = Channel::new(other);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"in the file").unwrap();
        file.rewind().unwrap();
        one.send(&"plain", None).unwrap();
        one.send(&"with a file", Some(file.as_fd())).unwrap();
        drop(one);
        let (text, none) = other.receive::<String>().unwrap().unwrap();
        assert!(text == "plain" && none.is_none());
        let (_, file) = other.receive::<String>().unwrap().unwrap();
        assert_eq!(io::read_to_string(file.unwrap()).unwrap(), "in the file");
        assert!(other.receive::<String>().unwrap().is_none());
    }

    #[test]
    fn a_frame_that_claims_to_be_endless_is_refused() {
        let (mut one, other) = Channel::pair().unwrap();
        (&other).write_all(&[0xff; 4]).unwrap();
        let error = one.receive::<String>().unwrap_err().to_string();
        assert!(error.contains("long"), "{error}");
    }

    #[test]
    fn a_peer_that_died_is_an_error_and_no_signal() {
        let (mut one, other) = Channel::pair().unwrap();
        drop(other);
        assert_eq!(one.send(&"x", None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
