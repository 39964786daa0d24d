//! One conversation with a guest, over one vchan.
//!
//! This module bounds what a guest can do to the process that talks to it:
//!
//! - **Memory**: frames have a largest size; ring indexes are checked.
//! - **The first answer** has a deadline. Only a real answer meets it, not an empty frame.
//! - **Turns**: one turn takes a bounded number of frames of any kind, and then returns to its caller, which handles
//!   signals, input and the terminal before it begins the next turn.
//! - **The end of the domain** is reported by xenstore, because a domain that is destroyed, crashes or reboots does
//!   not close its vchan.

use crate::guest::domain_watch::DomainWatch;
use crate::guest::error::{Deadline, TalkError};
use contract::talk::{Answer, Ask, Decoder, STDIN_WINDOW};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use xen::vchan::{Client, VchanError};

/// The most frames in one turn.
const TURN_FRAMES: u32 = 64;
/// The most bytes that may wait to be sent; the session takes no more input beyond this.
const MAX_PENDING: usize = 64 << 10;
const BUFFER_BYTES: usize = 16 << 10;

/// One conversation with a guest.
#[derive(Debug)]
pub struct Session {
    name: String,
    /// `None` once the domain has ended, because Xen keeps the domain's memory while its pages are mapped.
    vchan: Option<Client>,
    /// `None` if the caller itself watches for the end of the domain.
    watch: Option<DomainWatch>,
    decoder: Decoder<Answer>,
    out: Vec<u8>,
    /// How many bytes of `out` are in the ring.
    sent: usize,
    /// How many more bytes of input the guest accepts.
    window: u32,
    buffer: Vec<u8>,
    /// How many more frames this turn takes.
    turn: u32,
    /// `None` once the guest has answered.
    deadline: Option<Deadline>,
}

/// What [`Session::receive`] found.
enum Received {
    Bytes,
    /// Nothing yet; a notification will follow.
    Nothing,
    /// Nothing, and nothing will follow.
    End,
}

impl Session {
    pub(crate) fn new(
        name: String,
        vchan: Client,
        watch: Option<DomainWatch>,
        hello: Vec<u8>,
        deadline: Deadline,
    ) -> Self {
        Self {
            name,
            vchan: Some(vchan),
            watch,
            decoder: Decoder::answers(),
            out: hello,
            sent: 0,
            window: STDIN_WINDOW,
            buffer: vec![0; BUFFER_BYTES],
            turn: TURN_FRAMES,
            deadline: Some(deadline),
        }
    }

    /// How many bytes of input may be sent now.
    #[must_use]
    pub fn input_room(&self) -> usize {
        if self.out.len() - self.sent >= MAX_PENDING { 0 } else { self.window as usize }
    }

    /// Sends input, at most [`Session::input_room`] bytes.
    ///
    /// # Errors
    /// [`TalkError::Vchan`]. No error if the guest has ended: [`Session::next_answer`] reports that.
    pub fn send_input(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        self.window = self.window.saturating_sub(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.send(&Ask::Stdin(bytes.to_vec()))
    }

    /// Sends any other request.
    ///
    /// # Errors
    /// As [`Session::send_input`].
    pub fn send(&mut self, ask: &Ask) -> Result<(), TalkError> {
        ask.render(&mut self.out);
        self.flush()
    }

    /// Begins a turn: [`Session::next_answer`] takes a bounded number of frames again.
    pub fn begin_turn(&mut self) {
        self.turn = TURN_FRAMES;
    }

    /// Whether the turn ended before the guest's frames did, so that there may be more right now.
    #[must_use]
    pub fn is_turn_over(&self) -> bool {
        self.turn == 0
    }

    /// The guest's next answer; `None` if none has come, or if this turn has taken all its frames. Also sends what
    /// the ring had no room for before.
    ///
    /// # Errors
    /// [`TalkError::Ended`], [`TalkError::Refused`], [`TalkError::Frame`], [`TalkError::Vchan`];
    /// [`TalkError::Silent`] if the guest misses the deadline for its first answer.
    pub fn next_answer(&mut self) -> Result<Option<Answer>, TalkError> {
        self.flush()?;
        while self.turn > 0 {
            if let Some(answer) = self.decode()? {
                self.turn -= 1;
                match answer {
                    // The room never exceeds the window, whatever the guest claims.
                    Answer::Taken(count) => {
                        self.window = self.window.saturating_add(count).min(STDIN_WINDOW);
                    }
                    Answer::Refused(why) => return Err(TalkError::Refused(why)),
                    answer => {
                        self.deadline = None;
                        return Ok(Some(answer));
                    }
                }
                continue;
            }
            match self.receive()? {
                Received::Bytes => {}
                Received::Nothing => break,
                Received::End => return Err(TalkError::Ended(self.name.clone())),
            }
        }
        match self.deadline {
            Some(deadline) if deadline.left().is_zero() => Err(deadline.silent(&self.name)),
            _ => Ok(None),
        }
    }

    /// Reads a piece of what the guest has sent.
    fn receive(&mut self) -> Result<Received, TalkError> {
        let Some(vchan) = &mut self.vchan else { return Ok(Received::End) };
        // Asks before it reads, so that bytes sent in between are not missed.
        let open = vchan.is_open();
        match vchan.read(&mut self.buffer) {
            Ok(0) if open => Ok(Received::Nothing),
            Ok(0) => Ok(Received::End),
            Ok(count) => {
                self.decoder.feed(&self.buffer[..count]);
                Ok(Received::Bytes)
            }
            Err(source) => Err(self.failed(source)),
        }
    }

    fn decode(&mut self) -> Result<Option<Answer>, TalkError> {
        let failed = |source| TalkError::Frame { name: self.name.clone(), source };
        self.decoder.next_frame().map_err(failed)
    }

    /// Waits for the guest's first answer.
    ///
    /// # Errors
    /// As [`Session::next_answer`].
    pub fn wait_for_answer(&mut self) -> Result<Answer, TalkError> {
        loop {
            self.begin_turn();
            if let Some(answer) = self.next_answer()? {
                return Ok(answer);
            }
            let timeout = self.longest_wait().and_then(|left| Timespec::try_from(left).ok());
            let mut fds: Vec<_> =
                self.files().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    let name = self.name.clone();
                    return Err(TalkError::Wait { name, source: errno.into() });
                }
            }
            self.take_notifications()?;
        }
    }

    /// How long the caller may wait before it calls [`Session::next_answer`] again: zero if the turn ended early, and
    /// at most until the deadline of the first answer. `None` means without limit.
    #[must_use]
    pub fn longest_wait(&self) -> Option<Duration> {
        match self.is_turn_over() {
            true => Some(Duration::ZERO),
            false => self.deadline.map(|deadline| deadline.left()),
        }
    }

    /// The files to wait for. When [`Session::next_answer`] may have more, one of them is readable; call
    /// [`Session::take_notifications`] first.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.vchan.as_ref().map(|vchan| vchan.as_fd()).into_iter().chain(self.end_file())
    }

    /// The one of [`Session::files`] that reports the end of the domain, for a caller that cannot take more answers
    /// now.
    #[must_use]
    pub fn end_file(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Takes the notifications that made a file readable. Does not wait.
    ///
    /// # Errors
    /// A device fails, or Xen cannot be asked about the domain.
    pub fn take_notifications(&mut self) -> Result<(), TalkError> {
        if let Some(vchan) = &self.vchan {
            vchan.wait(Some(Duration::ZERO)).map(drop).map_err(|source| self.failed(source))?;
        }
        let Some(watch) = &self.watch else { return Ok(()) };
        if watch.has_ended().map_err(crate::error::AppsError::from)? {
            self.let_go()?;
        }
        Ok(())
    }

    /// Unmaps the pages of an ended domain. Keeps what the guest has sent, which is at most one ring.
    fn let_go(&mut self) -> Result<(), TalkError> {
        while matches!(self.receive()?, Received::Bytes) {}
        (self.vchan, self.watch) = (None, None);
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), TalkError> {
        if self.sent < self.out.len() {
            match self.vchan.as_mut().map(|vchan| vchan.write(&self.out[self.sent..])) {
                Some(Ok(count)) => self.sent += count,
                // What the guest sent before it ended is still in the ring.
                None | Some(Err(VchanError::Closed)) => self.sent = self.out.len(),
                Some(Err(source)) => return Err(self.failed(source)),
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        Ok(())
    }

    fn failed(&self, source: VchanError) -> TalkError {
        TalkError::Vchan { name: self.name.clone(), source }
    }
}
