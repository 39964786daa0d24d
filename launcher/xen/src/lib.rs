//! Safe Xen: xenstore, hypercalls, event channels, grants, domain building.
//!
//! One module a concern. [`store`] works in dom0 and in guests; the rest is for dom0.

pub mod domid;
pub mod store;

pub use domid::DomId;
