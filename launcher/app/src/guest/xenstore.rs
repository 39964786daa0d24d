//! What the monitor reads about a guest in xenstore.

use contract::store as nodes;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use toolstack::DomId;
use xen::store::{Store, StoreError};

/// Xenstored signals this watch when any domain has shut down, crashed or been destroyed.
const SOME_DOMAIN_ENDED: &str = "@releaseDomain";
/// Token of the watch of a console.
const CONSOLE: &str = "console";
/// The most nodes of a start set.
const MAX_START_SET_NODES: usize = nodes::MAX_START_SET_BYTES / nodes::FOUND_CHUNK_BYTES + 2;

/// A connection to xenstore that reports ends of domains and one guest's console, and reads that guest's nodes.
///
/// It watches no node that the guest may write, because Linux queues the events of a watch without a limit.
pub(crate) struct GuestStore {
    store: Store,
    domid: DomId,
}

/// What has happened since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The console may exist now.
    pub(crate) console: bool,
    /// Some domain has ended.
    pub(crate) some_domain_ended: bool,
}

impl GuestStore {
    /// Connects, and watches for ends of domains from now on.
    pub(crate) fn connect(domid: DomId) -> Result<Self, StoreError> {
        let store = Store::connect_to_wait()?;
        store.watch(SOME_DOMAIN_ENDED, SOME_DOMAIN_ENDED)?;
        Ok(Self { store, domid })
    }

    fn node(&self, name: &str) -> String {
        format!("/local/domain/{}/{name}", self.domid)
    }

    /// Watches for the console. Its node belongs to dom0, and the guest cannot write it.
    pub(crate) fn watch_console(&self) -> Result<(), StoreError> {
        self.store.watch(&self.node("console/tty"), CONSOLE)
    }

    /// Takes at most `most` waiting events. Does not wait.
    pub(crate) fn changes(&self, most: usize) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        for _ in 0..most {
            let Some(event) = self.store.wait_event(Some(Duration::ZERO))? else { break };
            changes.console |= event.token == CONSOLE;
            changes.some_domain_ended |= event.token == SOME_DOMAIN_ENDED;
        }
        Ok(changes)
    }

    /// The path of the console's terminal, once it exists.
    pub(crate) fn console(&self) -> Result<Option<String>, StoreError> {
        self.store.read_optional(&self.node("console/tty"))
    }

    /// The guest's report, unparsed.
    pub(crate) fn report(&self) -> Result<Option<String>, StoreError> {
        self.store.read_untrusted(&self.node(nodes::REPORT))
    }

    /// The nodes of the guest's start set, unparsed, below `max_bytes` together; empty if the guest has written none.
    pub(crate) fn start_set(&self, max_bytes: usize) -> Result<Vec<String>, StoreError> {
        let mut found = vec![];
        let mut bytes = 0;
        while found.len() < MAX_START_SET_NODES {
            let path = match found.len() {
                0 => nodes::FOUND_START_SET.to_owned(),
                index => nodes::chunk_path(nodes::FOUND_START_SET, index),
            };
            let Some(text) = self.store.read_untrusted(&self.node(&path))? else { break };
            bytes += text.len() + size_of::<u32>();
            if bytes >= max_bytes {
                break;
            }
            found.push(text);
        }
        Ok(found)
    }
}

impl AsFd for GuestStore {
    /// Readable when there is an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.store.as_fd()
    }
}
