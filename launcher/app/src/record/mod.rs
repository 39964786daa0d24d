//! What `launch` writes on disk about an app.

pub(crate) mod app;
pub(crate) mod outcome;
pub(crate) mod pooled_domain;
pub(crate) mod repair;
pub(crate) mod restart_policy;
pub(crate) mod state;
pub(crate) mod timing;
pub(crate) mod writable_choice;
