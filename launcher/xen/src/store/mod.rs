//! Xenstore: a blocking client for dom0 and for guests.
//!
//! In dom0 it uses xenstored's socket, in a guest the kernel's `/dev/xen/xenbus`; both carry the same messages. Paths
//! without a leading `/` are relative to the own domain's `/local/domain/<domid>`. Messages from xenstored are bounded
//! and checked, because they contain nodes that guests wrote.
#![forbid(unsafe_code)]

mod batch;
mod channel;
mod connection;
mod error;
mod link;
mod permission;
mod request;
#[cfg(test)]
mod tests;
mod traits;
mod transaction;
mod wire;

pub use batch::Batch;
pub use connection::Event;
pub use error::{Refusal, Request, StoreError};
pub use permission::{Access, Permission};
pub use transaction::Transaction;
pub use wire::WireError;

use crate::DomId;
use channel::Channel;
use link::Link;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use wire::Kind;

/// A connection to xenstored.
///
/// Can be moved between threads; threads that use xenstore at the same time open one connection each.
#[derive(Debug)]
pub struct Store(Link);

impl Store {
    /// How often [`Store::transaction`] starts over before it gives up.
    const MAX_ATTEMPTS: u32 = 100;

    /// Connects to this machine's xenstored.
    ///
    /// In dom0 through its socket (`XENSTORED_PATH` if set, otherwise `/run/xenstored/socket` or
    /// `/var/run/xenstored/socket`), in a guest through `/dev/xen/xenbus` or `/proc/xen/xenbus`.
    ///
    /// # Errors
    /// [`StoreError::Absent`] if none of them exists; [`StoreError::NotPermitted`] or [`StoreError::Connect`] if the
    /// first that exists cannot be opened.
    pub fn connect() -> Result<Self, StoreError> {
        Ok(Self::over(Channel::open()?))
    }

    /// Connects through the kernel also in dom0, for a connection that mostly waits.
    ///
    /// For each request of any client, xenstored looks at every socket, but only once at dom0's kernel, however many
    /// connections it carries. Each of 88 idle sockets made all requests 0.6 % slower.
    ///
    /// Do not use it to watch a node that a guest may write. The kernel queues the events of a watch, about 190 bytes
    /// each, without a limit, even if they are read slowly. On a socket, xenstored itself holds back all events but
    /// one.
    ///
    /// # Errors
    /// Those of [`Store::connect`].
    pub fn connect_to_wait() -> Result<Self, StoreError> {
        Ok(Self::over(Channel::open_device()?))
    }

    fn over(channel: Channel) -> Self {
        Self(Link::over(channel))
    }

    /// Reads a node's value.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::NotPermitted`]; [`StoreError::NotText`].
    pub fn read(&self, path: &str) -> Result<String, StoreError> {
        Transaction::none(&self.0).read(path)
    }

    /// Reads a node's value; `None` if the node does not exist.
    ///
    /// # Errors
    /// Those of [`Store::read`], without [`Refusal::NotFound`].
    pub fn read_optional(&self, path: &str) -> Result<Option<String>, StoreError> {
        Transaction::none(&self.0).read_optional(path)
    }

    /// Reads a node that a guest may write; `None` if it does not exist or is not text.
    ///
    /// # Errors
    /// Those of [`Store::read_optional`], without [`StoreError::NotText`].
    pub fn read_untrusted(&self, path: &str) -> Result<Option<String>, StoreError> {
        match self.read_optional(path) {
            Err(StoreError::NotText { .. }) => Ok(None),
            read => read,
        }
    }

    /// Writes a node. Creates it and its parents if they are missing.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`], [`Refusal::Quota`]; [`StoreError::Malformed`] if path and value together do not fit
    /// into one message of 4,096 bytes.
    pub fn write(&self, path: &str, value: &str) -> Result<(), StoreError> {
        Transaction::none(&self.0).write(path, value)
    }

    /// Creates an empty node and missing parents. Does not change an existing node.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`], [`Refusal::Quota`].
    pub fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        Transaction::none(&self.0).mkdir(path)
    }

    /// Removes a node and everything below it. Returns `Ok` if it does not exist.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`].
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        Transaction::none(&self.0).remove(path)
    }

    /// Lists the names of a node's children, in any order.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::NotPermitted`].
    pub fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        Transaction::none(&self.0).list(path)
    }

    /// Reads a node's permissions; the first entry is the owner's.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::NotPermitted`].
    pub fn permissions(&self, path: &str) -> Result<Vec<Permission>, StoreError> {
        Transaction::none(&self.0).permissions(path)
    }

    /// Sets a node's permissions; the first entry names the owner.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::NotPermitted`], [`Refusal::Invalid`] for an empty list.
    pub fn set_permissions(
        &self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        Transaction::none(&self.0).set_permissions(path, permissions)
    }

    /// Collects changes to send together, outside of any transaction.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.0, 0)
    }

    /// Runs `changes` as one transaction, and repeats it while other clients change the same nodes at the same time. If
    /// `changes` returns an error, nothing is changed.
    ///
    /// # Errors
    /// The error of `changes`; [`StoreError::Contended`] after 100 conflicts in a row.
    pub fn transaction<T, E: From<StoreError>>(
        &self,
        mut changes: impl FnMut(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        for attempt in 0..Self::MAX_ATTEMPTS {
            let transaction = self.start_transaction()?;
            let result = changes(&transaction)?;
            match transaction.commit() {
                Ok(()) => return Ok(result),
                Err(error) if error.refusal() == Some(&Refusal::Conflict) => back_off(attempt),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended { attempts: Self::MAX_ATTEMPTS }.into())
    }

    /// Starts a transaction that the caller commits; prefer [`Store::transaction`], which retries.
    ///
    /// # Errors
    /// [`Refusal::Quota`] if this client has too many open transactions.
    pub fn start_transaction(&self) -> Result<Transaction<'_>, StoreError> {
        Transaction::start(&self.0)
    }

    /// Requests an [`Event`] with `token` whenever the node at `path` or a node below it changes.
    ///
    /// The first event comes immediately, so that a change before the watch is not missed. `path` may also be
    /// `@introduceDomain` or `@releaseDomain`.
    ///
    /// # Errors
    /// [`Refusal::Exists`] if the same path and token are watched already; [`Refusal::Quota`].
    pub fn watch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        self.exchange_watch(Kind::Watch, path, token)
    }

    /// Removes a watch and its unread events.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is no such watch.
    pub fn unwatch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        self.exchange_watch(Kind::Unwatch, path, token)?;
        self.0.drop_events(token);
        Ok(())
    }

    fn exchange_watch(&self, kind: Kind, path: &str, token: &str) -> Result<(), StoreError> {
        request::check_path(kind, path)?;
        if token.contains('\0') {
            let reason = "the token contains a NUL";
            return Err(StoreError::Malformed { request: Request::new(kind, path), reason });
        }
        let parts = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        self.0.exchange(kind, 0, path, &parts).map(drop)
    }

    /// Waits for the next watch event; `None` after `timeout` without one.
    ///
    /// Equal unread events count as one. Events may arrive together with a reply, so a caller that polls the file
    /// descriptor must first call this with a zero timeout until it returns `None`.
    ///
    /// # Errors
    /// [`StoreError::Lost`], [`StoreError::Protocol`].
    pub fn wait_event(&self, timeout: Option<Duration>) -> Result<Option<Event>, StoreError> {
        self.0.wait_event(timeout)
    }

    /// Introduces a new domain to xenstored: the frame of its xenstore ring and the domain's event channel port for it
    /// (`XS_INTRODUCE`).
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`] outside dom0, [`Refusal::Invalid`] if xenstored cannot map the frame or bind the port.
    pub fn introduce(&self, domid: DomId, ring_gfn: u64, port: u32) -> Result<(), StoreError> {
        let payload = format!("{domid}\0{ring_gfn}\0{port}\0");
        self.0.exchange(Kind::Introduce, 0, &domid.to_string(), &[payload.as_bytes()]).map(drop)
    }

    /// Makes xenstored release a domain (`XS_RELEASE`).
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it was not introduced; [`Refusal::NotPermitted`].
    pub fn release(&self, domid: DomId) -> Result<(), StoreError> {
        self.about_domain(Kind::Release, domid).map(drop)
    }

    /// The domain's home, `/local/domain/<domid>`; the domain need not exist.
    ///
    /// # Errors
    /// Those of any request.
    pub fn get_domain_path(&self, domid: DomId) -> Result<String, StoreError> {
        let reply = self.about_domain(Kind::GetDomainPath, domid)?;
        Ok(wire::one_string(&reply)?.to_owned())
    }

    /// Whether xenstored serves this domain.
    ///
    /// # Errors
    /// Those of any request.
    pub fn is_domain_introduced(&self, domid: DomId) -> Result<bool, StoreError> {
        let reply = self.about_domain(Kind::IsDomainIntroduced, domid)?;
        Ok(wire::one_string(&reply)? == "T")
    }

    fn about_domain(&self, kind: Kind, domid: DomId) -> Result<Vec<u8>, StoreError> {
        let subject = domid.to_string();
        self.0.exchange(kind, 0, &subject, &[subject.as_bytes(), b"\0"])
    }
}

impl AsFd for Store {
    /// Readable when there may be watch events; see [`Store::wait_event`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for other clients: not at all after the first conflicts, then up to 32 ms.
fn back_off(attempt: u32) {
    const FREE_ATTEMPTS: u32 = 4;
    if attempt >= FREE_ATTEMPTS {
        let exponent = (attempt - FREE_ATTEMPTS).min(5);
        std::thread::sleep(Duration::from_millis(1 << exponent));
    }
}
