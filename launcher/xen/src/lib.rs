//! Safe Xen: xenstore, hypercalls, event channels, grants, domain building.
//!
//! One module for each subject. [`store`], [`vchan`], [`EventChannels`] and [`SharedMemory`] work in dom0 and in
//! guests; the rest is for dom0.

mod argument;
pub mod builder;
mod call;
mod domctl;
mod domid;
mod error;
mod evtchn;
mod foreignmemory;
mod gnttab;
mod hvm;
mod hypervisor;
mod memory;
pub mod paths;
mod pv;
pub mod store;
pub mod vchan;

pub use call::CallError;
pub use domctl::{DomainInfo, ShutdownReason};
pub use domid::{DomId, ParseDomIdError};
pub use error::{Cause, XenError};
pub use evtchn::{EventChannelError, EventChannels, NOTIFY_REQUEST, Port};
pub use gnttab::{GrantError, GrantRef, SharedMemory};
pub use hypervisor::{Host, Hypervisor, processor_is_emulated};
