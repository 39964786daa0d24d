//! A channel and its connection, shared by a store, its transactions and batches.

use super::channel::Channel;
use super::connection::{Connection, Event};
use super::error::StoreError;
use super::request::BatchedRequest;
use super::wire::Kind;
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A connection to xenstored, shared by its users within a thread.
#[derive(Debug)]
pub(super) struct Link {
    channel: Channel,
    connection: RefCell<Connection>,
}

impl Link {
    pub(super) fn over(channel: Channel) -> Self {
        Self { channel, connection: RefCell::default() }
    }

    /// See [`Connection::exchange`].
    pub(super) fn exchange(
        &self,
        kind: Kind,
        transaction: u32,
        subject: &str,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, StoreError> {
        let mut connection = self.connection.borrow_mut();
        connection.exchange(&self.channel, kind, transaction, subject, parts)
    }

    /// See [`Connection::exchange_all`].
    pub(super) fn exchange_all(
        &self,
        transaction: u32,
        requests: &[BatchedRequest],
    ) -> Result<(), StoreError> {
        self.connection.borrow_mut().exchange_all(&self.channel, transaction, requests)
    }

    /// See [`Connection::wait_event`].
    pub(super) fn wait_event(
        &self,
        timeout: Option<Duration>,
    ) -> Result<Option<Event>, StoreError> {
        self.connection.borrow_mut().wait_event(&self.channel, timeout)
    }

    /// See [`Connection::drop_events`].
    pub(super) fn drop_events(&self, token: &str) {
        self.connection.borrow_mut().drop_events(token);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
