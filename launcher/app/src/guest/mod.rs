//! Talks to the guest of an app.

pub(crate) mod domain_watch;
pub(crate) mod error;
pub(crate) mod nodes;
pub(crate) mod session;
pub(crate) mod signal;
pub(crate) mod vchan;
pub(crate) mod verbs;
pub(crate) mod xenstore;

pub use verbs::{ENDED_WITH_APP, attach, exec, stats, why_not};
