//! The disks of an app.

pub(crate) mod layer;
pub(crate) mod root;
pub(crate) mod sparse;
pub(crate) mod start_set;
pub(crate) mod writable;
