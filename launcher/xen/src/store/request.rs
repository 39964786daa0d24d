//! Requests, checked before they are sent.

use super::error::{Request, StoreError};
use super::wire::{Kind, MAX_ABSOLUTE_PATH, MAX_RELATIVE_PATH};

/// One request of a batch.
#[derive(Debug)]
pub(super) struct BatchedRequest {
    pub(super) kind: Kind,
    /// The path or domain it names, for error messages.
    pub(super) subject: String,
    pub(super) payload: Vec<u8>,
    /// Whether "does not exist" counts as success.
    pub(super) may_be_absent: bool,
}

/// Rejects a path that is too long, or contains a NUL: xenstored would cut it there and use another node.
pub(super) fn check_path(kind: Kind, path: &str) -> Result<(), StoreError> {
    let limit = if path.starts_with('/') { MAX_ABSOLUTE_PATH } else { MAX_RELATIVE_PATH };
    let reason = if path.is_empty() {
        "the path is empty"
    } else if path.contains('\0') {
        "the path contains a NUL"
    } else if path.len() > limit {
        "the path is too long"
    } else {
        return Ok(());
    };
    Err(StoreError::Malformed { request: Request::new(kind, path), reason })
}
