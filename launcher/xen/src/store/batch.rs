//! Batches: many changes sent without waiting for the answer to each.
//!
//! xenstored handles a request in microseconds, but each answer takes two task switches. A new domain has about a
//! hundred nodes.

use super::error::StoreError;
use super::link::Link;
use super::permission::Permission;
use super::request::{BatchedRequest, check_path};
use super::wire::Kind;

/// Changes that are collected, then sent together, in order: each by itself, or all in one transaction.
#[derive(Debug)]
pub struct Batch<'a> {
    link: &'a Link,
    transaction: u32,
    requests: Vec<BatchedRequest>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(link: &'a Link, transaction: u32) -> Self {
        Self { link, transaction, requests: Vec::new() }
    }

    /// Adds a [`super::Store::write`].
    ///
    /// # Errors
    /// [`StoreError::Malformed`].
    pub fn write(&mut self, path: &str, value: &str) -> Result<(), StoreError> {
        self.add(Kind::Write, path, value.as_bytes(), false)
    }

    /// Adds a [`super::Store::remove`].
    ///
    /// # Errors
    /// [`StoreError::Malformed`].
    pub fn remove(&mut self, path: &str) -> Result<(), StoreError> {
        self.add(Kind::Rm, path, &[], true)
    }

    /// Adds a [`super::Store::set_permissions`].
    ///
    /// # Errors
    /// [`StoreError::Malformed`].
    pub fn set_permissions(
        &mut self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        let rendered = Permission::render_list(permissions);
        self.add(Kind::SetPerms, path, rendered.as_bytes(), false)
    }

    fn add(
        &mut self,
        kind: Kind,
        path: &str,
        rest: &[u8],
        may_be_absent: bool,
    ) -> Result<(), StoreError> {
        check_path(kind, path)?;
        let payload = [path.as_bytes(), b"\0", rest].concat();
        let subject = path.to_owned();
        self.requests.push(BatchedRequest { kind, subject, payload, may_be_absent });
        Ok(())
    }

    /// Sends all changes and waits until all are done.
    ///
    /// # Errors
    /// The first that failed, as from the single operation. xenstored tries the later ones nevertheless, so abort a
    /// transaction after an error.
    pub fn send(self) -> Result<(), StoreError> {
        self.link.exchange_all(self.transaction, &self.requests)
    }
}
