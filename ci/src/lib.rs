//! The nested-Xen lab: Xen and a Debian dom0 in QEMU, started from a snapshot in seconds.
#![forbid(unsafe_code)]

pub mod accelerator;
pub mod app;
pub mod cache;
pub mod cargo;
pub mod clock;
pub mod cpio;
pub mod dom0;
pub mod dom0_files;
pub mod host;
pub mod instance;
pub mod kernel;
pub mod patched_text;
pub mod qemu;
pub mod qmp;
pub mod registry;
pub mod session;
pub mod skips;
pub mod snapshot;
pub mod stage;
pub mod tally;
pub mod terminal;
pub mod xen_version;
pub mod xenstored;
