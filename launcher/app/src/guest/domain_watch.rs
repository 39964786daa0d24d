//! Watches for the end of an app's domain.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use toolstack::{AppDomain, Toolstack, ToolstackError, Uuid};
use xen::DomId;
use xen::store::{Event, Store};

/// Xenstored signals this watch when any domain has shut down, crashed or been destroyed.
const SOME_DOMAIN_ENDED: &str = "@releaseDomain";

/// A connection to xenstore that reports the end of one app's domain.
#[derive(Debug)]
pub(crate) struct DomainWatch {
    store: Store,
    toolstack: Arc<dyn Toolstack>,
    domain: AppDomain,
}

impl DomainWatch {
    /// Begins to watch; `None` if the domain `domid` is not the app's or has ended.
    pub(crate) fn new(
        store: Store,
        toolstack: Arc<dyn Toolstack>,
        domid: DomId,
        uuid: Uuid,
    ) -> Result<Option<Self>, ToolstackError> {
        // Watches before it asks, so that an end in between is noticed.
        store.watch(SOME_DOMAIN_ENDED, SOME_DOMAIN_ENDED)?;
        let domain = toolstack.of_app(domid, uuid)?;
        let watch = domain.map(|domain| Self { store, toolstack, domain });
        match watch {
            Some(watch) if !watch.ask()? => Ok(Some(watch)),
            _ => Ok(None),
        }
    }

    /// The connection, for further requests.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn domid(&self) -> DomId {
        self.domain.domid()
    }

    /// Whether the caller must [`DomainWatch::ask`] because of this event of [`DomainWatch::store`].
    pub(crate) fn is_told_by(event: &Event) -> bool {
        event.token == SOME_DOMAIN_ENDED
    }

    /// Takes all events and returns whether the domain has ended. Asks Xen only if an event reports an end.
    pub(crate) fn has_ended(&self) -> Result<bool, ToolstackError> {
        let mut told = false;
        while let Some(event) = self.store.wait_event(Some(Duration::ZERO))? {
            told |= Self::is_told_by(&event);
        }
        Ok(told && self.ask()?)
    }

    /// Asks Xen whether the domain has ended.
    pub(crate) fn ask(&self) -> Result<bool, ToolstackError> {
        Ok(self.toolstack.state(self.domid(), self.domain.uuid())?.has_ended())
    }
}

impl AsFd for DomainWatch {
    /// Readable when there is an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.store.as_fd()
    }
}
