//! Builds, asks, changes and destroys Xen domains; knows no app, image or state folder.
//!
//! [`Toolstack`] is the trait that all else uses. [`Dom0`] is the real one: by hypercalls ([`native`]) where this
//! Xen's interface is known, and by Xen's own `xl` ([`xl`]) on any Xen.
#![deny(unsafe_code)]

pub mod disk;
pub mod dom0;
pub mod domains;
pub mod error;
pub mod guest_nodes;
pub mod hotplug;
pub mod native;
mod orphans;
pub mod schedule;
pub mod settings;
pub mod spec;
pub mod state;
pub mod toolstack;
pub mod usage;
pub mod xl;
pub mod xl_config;
mod xl_program;

pub use dom0::Dom0;
pub use error::ToolstackError;
pub use guest_nodes::GuestNodes;
pub use schedule::Schedule;
pub use settings::Settings;
pub use spec::{Disk, DomainSpec, Kind, Shape, ToolstackKind, Uuid, Vif};
pub use state::DomainState;
pub use toolstack::{AppDomain, Booted, Built, Devices, Toolstack};
pub use usage::Usage;
pub use xen::{DomId, ShutdownReason};
