//! The conversation on a connection: requests out, replies in, watch events put aside.

use super::channel::Channel;
use super::error::{Refusal, Request, StoreError};
use super::wire::{self, Decoder, HEADER_BYTES, Kind, MAX_PAYLOAD, Message, WireError};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Different events that may wait unread; equal ones wait once.
const MAX_EVENTS: usize = 1024;

/// A watch fired: something at or below a watched node may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The node that changed, relative where the watched path was.
    pub path: String,
    /// The token that the watch was set with.
    pub token: String,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    decoder: Decoder,
    events: VecDeque<Event>,
    last_request: u32,
    /// Set by errors after which the stream's messages cannot be told apart any more.
    ended: bool,
}

impl Connection {
    /// Sends one request and returns its reply's payload. Events that arrive before are kept.
    pub(super) fn exchange(
        &mut self,
        channel: &Channel,
        kind: Kind,
        transaction: u32,
        subject: &str,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, StoreError> {
        if self.ended {
            return Err(StoreError::Ended);
        }
        self.last_request = self.last_request.wrapping_add(1);
        let Some(bytes) = wire::encode(kind, self.last_request, transaction, parts) else {
            let reason = "path and value together exceed 4096 bytes";
            return Err(StoreError::Malformed { request: Request::new(kind, subject), reason });
        };
        let reply = self.send_and_receive(channel, &bytes).inspect_err(|_| self.ended = true)?;

        if reply.request == self.last_request && reply.kind == Kind::Error as u32 {
            let refusal = Refusal::parse(wire::one_string(&reply.payload)?);
            return Err(StoreError::Refused { request: Request::new(kind, subject), refusal });
        }
        if reply.request != self.last_request || reply.kind != kind as u32 {
            self.ended = true;
            let Message { kind, request, .. } = reply;
            return Err(WireError::Unexpected { kind, request }.into());
        }
        Ok(reply.payload)
    }

    fn send_and_receive(&mut self, channel: &Channel, bytes: &[u8]) -> Result<Message, StoreError> {
        channel.write_all(bytes).map_err(StoreError::Lost)?;
        loop {
            match self.decoder.next_message()? {
                Some(message) if message.kind == Kind::WatchEvent as u32 => {
                    self.keep_event(&message.payload)?;
                }
                Some(message) => return Ok(message),
                None => self.read_some(channel)?,
            }
        }
    }

    /// Returns the next watch event; `None` after `timeout` without one.
    pub(super) fn wait_event(
        &mut self,
        channel: &Channel,
        timeout: Option<Duration>,
    ) -> Result<Option<Event>, StoreError> {
        // A timeout too large to be a point in time is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Err(StoreError::Ended);
            }
            self.take_event_from_stream().inspect_err(|_| self.ended = true)?;
            if !self.events.is_empty() {
                continue;
            }
            if !channel.wait_readable(deadline).map_err(StoreError::Wait)? {
                return Ok(None);
            }
            self.read_some(channel).inspect_err(|_| self.ended = true)?;
        }
    }

    fn take_event_from_stream(&mut self) -> Result<(), StoreError> {
        match self.decoder.next_message()? {
            None => Ok(()),
            Some(message) if message.kind == Kind::WatchEvent as u32 => {
                self.keep_event(&message.payload)
            }
            Some(Message { kind, request, .. }) => {
                Err(WireError::Unexpected { kind, request }.into())
            }
        }
    }

    /// Forgets the unread events of a watch that was taken back.
    pub(super) fn drop_events(&mut self, token: &str) {
        self.events.retain(|event| event.token != token);
    }

    fn keep_event(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        let strings = wire::strings(payload)?;
        let [path, token, ..] = strings[..] else {
            return Err(WireError::TooFewStrings.into());
        };
        let event = Event { path: path.to_owned(), token: token.to_owned() };
        if self.events.contains(&event) {
            return Ok(());
        }
        if self.events.len() >= MAX_EVENTS {
            return Err(StoreError::TooManyEvents(self.events.len()));
        }
        self.events.push_back(event);
        Ok(())
    }

    fn read_some(&mut self, channel: &Channel) -> Result<(), StoreError> {
        let mut bytes = [0; HEADER_BYTES + MAX_PAYLOAD];
        loop {
            match channel.read(&mut bytes) {
                Ok(0) => return Err(StoreError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.decoder.feed(&bytes[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::Lost(error)),
            }
        }
    }
}
