//! Builds, asks, changes and destroys Xen domains; knows no app, image or state folder.
//!
//! All other crates use the trait [`Toolstack`]. [`Dom0`] implements it: by hypercalls (`native.rs`) if `launch` knows
//! the interface of this Xen, and by Xen's own `xl` (`xl.rs`) on any Xen.
#![deny(unsafe_code)]

mod disk;
mod dom0;
mod domains;
mod error;
mod guest_nodes;
pub mod hotplug;
mod native;
mod orphans;
pub mod schedule;
mod settings;
mod spec;
mod state;
mod toolstack;
mod usage;
mod xl;
mod xl_config;
mod xl_program;

pub use disk::loopdev::LoopError;
pub use dom0::Dom0;
pub use error::ToolstackError;
pub use guest_nodes::GuestNodes;
pub use schedule::Schedule;
pub use settings::Settings;
pub use spec::{
    Disk, DomainSpec, Kind, KindError, Shape, ToolstackKind, ToolstackKindError, Uuid, Vif,
};
pub use state::DomainState;
pub use toolstack::{AppDomain, Booted, Built, Devices, Toolstack};
pub use usage::Usage;
pub use xen::{DomId, ShutdownReason};
pub use xl_config::ConfigError;
