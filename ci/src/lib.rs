//! The nested-Xen lab: Xen and a Debian dom0 in QEMU, back from a snapshot in seconds.
#![forbid(unsafe_code)]

#[cfg(feature = "host")]
pub mod accelerator;
pub mod agent;
#[cfg(feature = "host")]
pub mod app;
#[cfg(feature = "host")]
pub mod cache;
#[cfg(feature = "host")]
pub mod cargo;
#[cfg(feature = "host")]
pub mod cpio;
#[cfg(feature = "host")]
pub mod dom0;
pub mod frame;
#[cfg(feature = "host")]
pub mod host;
#[cfg(feature = "host")]
pub mod instance;
#[cfg(feature = "host")]
pub mod qemu;
#[cfg(feature = "host")]
pub mod qmp;
#[cfg(feature = "host")]
pub mod session;
#[cfg(feature = "host")]
pub mod snapshot;
#[cfg(feature = "host")]
pub mod stage;
#[cfg(feature = "host")]
pub mod tally;
pub mod terminal;
#[cfg(feature = "host")]
pub mod xen_version;
