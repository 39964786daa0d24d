//! What a session needs of the domain.

use crate::children::Children;
use crate::streams::Target;
use std::sync::{Arc, Mutex, PoisonError};

/// The domain, as its sessions see it.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) hostname: String,
    pub(super) children: Arc<Children>,
    /// The app's input, if it has any.
    input: Mutex<Option<Target>>,
}

impl Guest {
    pub(super) fn new(hostname: String, children: Arc<Children>, input: Option<Target>) -> Self {
        Self { hostname, children, input: Mutex::new(input) }
    }

    pub(super) fn input(&self) -> Option<Target> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn close_input(&self) {
        *self.input.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
