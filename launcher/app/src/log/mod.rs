//! The log: what an app printed.

pub(crate) mod files;
pub mod timestamp;
pub(crate) mod writer;
