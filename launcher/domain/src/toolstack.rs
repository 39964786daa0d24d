//! What builds and destroys domains, behind one trait.

use crate::spec::{DomainSpec, Uuid};
use crate::toolstack_error::ToolstackError;
use std::fs::File;
use std::path::Path;
use xen::DomId;

/// Builds and destroys domains. What is asked of them is the same for all: [`crate::domains`].
///
/// Calls block. They are safe to make from several processes at once, for different domains.
pub trait Toolstack: Send + Sync {
    /// Builds the domain and lets it run; its app's state folder is `folder`.
    ///
    /// Programs that take part inherit `lock`, the open lock file of the app: as long as one of
    /// them goes on building after this process was killed, nobody takes the app for left behind.
    ///
    /// # Errors
    /// The domain could not be built; nothing of it is left then.
    fn create(&self, spec: &DomainSpec, folder: &Path, lock: File)
    -> Result<DomId, ToolstackError>;

    /// Destroys the domain with all its devices; a domain that is already gone is no error.
    ///
    /// # Errors
    /// The domain is still there.
    fn destroy(&self, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError>;
}
