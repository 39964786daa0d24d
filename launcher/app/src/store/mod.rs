//! Where apps are kept on disk: folders, names, ids, locks.

pub(crate) mod end_watch;
pub(crate) mod folder;
pub(crate) mod ids;
pub(crate) mod lock;
pub(crate) mod locked;
pub(crate) mod names;
