//! The nested-Xen lab: Xen and a Debian dom0 in QEMU, back from a snapshot in seconds.
#![forbid(unsafe_code)]

pub mod accelerator;
pub mod agent;
pub mod app;
pub mod cache;
pub mod cargo;
pub mod cpio;
pub mod dom0;
pub mod frame;
pub mod host;
pub mod instance;
pub mod qemu;
pub mod qmp;
pub mod session;
pub mod snapshot;
pub mod stage;
pub mod tally;
pub mod terminal;
pub mod xen_version;
