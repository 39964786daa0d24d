//! The socket pair between the monitor's two processes. It carries packets of bounded size, some with a file.

use crate::monitor::messages::MAX_PACKET_BYTES;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One end of the socket pair.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// What [`Channel::receive`] found.
#[derive(Debug)]
pub(super) enum Received {
    /// A packet, and the file that came with it, if any.
    Packet(Vec<u8>, Option<File>),
    /// Nothing yet.
    Nothing,
    /// The other end is closed.
    Closed,
}

impl Channel {
    /// Creates both ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        // Packets, so that one message never mixes with the rest of another.
        let kind = SocketType::SEQPACKET;
        let (one, other) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a packet, with a file if given. With `wait`, waits until there is room.
    ///
    /// # Errors
    /// `EPIPE` if the other end is closed; `EAGAIN` without `wait` if there is no room.
    pub(super) fn send(&self, packet: &[u8], file: Option<&File>, wait: bool) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let files = file.map(|file| [file.as_fd()]);
        if let Some(files) = &files {
            rights.push(SendAncillaryMessage::ScmRights(files));
        }
        let flags =
            if wait { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
        let sent = retry(|| sendmsg(&self.0, &[IoSlice::new(packet)], &mut rights, flags))?;
        if sent == packet.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Receives a waiting packet, or with `wait` the next one. A packet beyond the bound is an error.
    pub(super) fn receive(&self, wait: bool) -> io::Result<Received> {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        // Allocates only for the size of the packet, not for the bound.
        let mut nothing = [0; 0];
        let look = flags | RecvFlags::PEEK | RecvFlags::TRUNC;
        let length = match retry(|| recv(&self.0, &mut nothing, look)) {
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(errno) => return Err(errno.into()),
        };
        if length == 0 {
            return Ok(Received::Closed);
        }
        if length > MAX_PACKET_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut packet = vec![0; length];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = {
            let mut parts = [IoSliceMut::new(&mut packet)];
            retry(|| recvmsg(&self.0, &mut parts, &mut rights, flags))?
        };
        packet.truncate(received.bytes);
        let files = rights.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        // Closes all files but the first.
        let file = files.flatten().fold(None, |first, file| first.or(Some(File::from(file))));
        Ok(Received::Packet(packet, file))
    }
}

impl AsFd for Channel {
    /// Readable when a packet waits or the other end is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn packets_come_one_by_one_with_their_file_until_the_other_end_is_closed() {
        let (one, other) = Channel::pair().unwrap();
        assert!(matches!(other.receive(false).unwrap(), Received::Nothing));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"log").unwrap();
        one.send(b"first", None, false).unwrap();
        one.send(b"second", Some(&file), false).unwrap();
        let Received::Packet(packet, None) = other.receive(true).unwrap() else { panic!("first") };
        assert_eq!(packet, b"first");
        let Received::Packet(packet, Some(mut same)) = other.receive(true).unwrap() else {
            panic!("second")
        };
        let mut text = String::new();
        same.rewind().unwrap();
        same.read_to_string(&mut text).unwrap();
        assert_eq!((&packet[..], text.as_str()), (&b"second"[..], "log"));
        drop(one);
        assert!(matches!(other.receive(false).unwrap(), Received::Closed));
        let error = other.send(b"to nobody", None, true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::PIPE.raw_os_error()));
    }

    #[test]
    fn a_packet_beyond_the_bound_is_refused_and_an_end_that_hears_nothing_does_not_keep_the_other()
    {
        let (one, other) = Channel::pair().unwrap();
        one.send(&vec![1; MAX_PACKET_BYTES + 1], None, false).unwrap();
        assert_eq!(other.receive(false).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let error = (0..1000).find_map(|_| one.send(&[1; 4096], None, false).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
