//! The messages on a connection: sends requests, reads replies, keeps watch events for later.

use super::channel::Channel;
use super::error::{Refusal, Request, StoreError};
use super::request::BatchedRequest;
use super::wire::{self, Decoder, HEADER_BYTES, Kind, MAX_PAYLOAD, Message, WireError};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// The most different unread events; equal ones count as one.
const MAX_EVENTS: usize = 1024;
/// The most of them that one watch may have.
const MAX_ALIKE: usize = 256;
/// How many requests of a batch are sent before their replies are read: few enough that the buffers of neither side
/// fill up.
const MAX_UNANSWERED: usize = 64;

/// A watch fired: something at or below a watched node may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The node that changed; relative if the watched path was.
    pub path: String,
    /// The token that the watch was set with.
    pub token: String,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    decoder: Decoder,
    events: VecDeque<Event>,
    last_request: u32,
    /// Set after errors that make it impossible to separate the stream's messages.
    ended: bool,
}

impl Connection {
    /// Sends one request and returns its reply's payload. Keeps events that arrive earlier.
    pub(super) fn exchange(
        &mut self,
        channel: &Channel,
        kind: Kind,
        transaction: u32,
        subject: &str,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, StoreError> {
        let number = self.next_request()?;
        let bytes = encode(kind, number, transaction, subject, parts)?;
        self.send(channel, &bytes)?;
        self.receive(channel, kind, number, subject)
    }

    /// Sends all requests, some at a time, and waits for all replies.
    pub(super) fn exchange_all(
        &mut self,
        channel: &Channel,
        transaction: u32,
        requests: &[BatchedRequest],
    ) -> Result<(), StoreError> {
        let mut first_error = None;
        // The kernel's device takes one message per write and keeps only the last, so each request must be answered
        // before the next is written.
        let most = match channel {
            Channel::Socket(_) => MAX_UNANSWERED,
            Channel::Device(_) => 1,
        };
        for window in requests.chunks(most) {
            let mut numbers = Vec::with_capacity(window.len());
            let mut messages = Vec::with_capacity(window.len());
            for request in window {
                let BatchedRequest { kind, subject, payload, .. } = request;
                let number = self.next_request()?;
                messages.push(encode(*kind, number, transaction, subject, &[payload])?);
                numbers.push(number);
            }
            self.send(channel, &messages.concat())?;
            for (request, number) in window.iter().zip(numbers) {
                match self.receive(channel, request.kind, number, &request.subject) {
                    Ok(_) => {}
                    Err(error) if request.may_be_absent && error.is_not_found() => {}
                    Err(error @ StoreError::Refused { .. }) => {
                        first_error.get_or_insert(error);
                    }
                    // The connection has ended.
                    Err(error) => return Err(first_error.unwrap_or(error)),
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn next_request(&mut self) -> Result<u32, StoreError> {
        if self.ended {
            return Err(StoreError::Ended);
        }
        self.last_request = self.last_request.wrapping_add(1);
        Ok(self.last_request)
    }

    fn send(&mut self, channel: &Channel, bytes: &[u8]) -> Result<(), StoreError> {
        channel.write_all(bytes).map_err(StoreError::Lost).inspect_err(|_| self.ended = true)
    }

    /// Waits for the reply to request `number`.
    fn receive(
        &mut self,
        channel: &Channel,
        kind: Kind,
        number: u32,
        subject: &str,
    ) -> Result<Vec<u8>, StoreError> {
        let reply = self.next_reply(channel).inspect_err(|_| self.ended = true)?;
        if reply.request == number && reply.kind == Kind::Error as u32 {
            let refusal = Refusal::parse(wire::one_string(&reply.payload)?);
            return Err(StoreError::Refused { request: Request::new(kind, subject), refusal });
        }
        if reply.request != number || reply.kind != kind as u32 {
            self.ended = true;
            let Message { kind, request, .. } = reply;
            return Err(WireError::Unexpected { kind, request }.into());
        }
        Ok(reply.payload)
    }

    fn next_reply(&mut self, channel: &Channel) -> Result<Message, StoreError> {
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
        // A timeout too large to be a point in time counts as no timeout.
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

    /// Forgets the unread events of a removed watch.
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
        // A guest may create any number of nodes below a watched one. The caller already knows that something has
        // changed.
        if self.events.iter().filter(|event| event.token == token).count() >= MAX_ALIKE {
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

fn encode(
    kind: Kind,
    number: u32,
    transaction: u32,
    subject: &str,
    parts: &[&[u8]],
) -> Result<Vec<u8>, StoreError> {
    wire::encode(kind, number, transaction, parts).ok_or_else(|| {
        let reason = "path and value together exceed 4096 bytes";
        StoreError::Malformed { request: Request::new(kind, subject), reason }
    })
}
