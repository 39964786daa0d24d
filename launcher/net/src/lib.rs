//! The network of guests: bridge, addresses and published ports.
//!
//! [`Network`] is the bridge that `launch` creates, with its own subnet, a lease for each owner and ports published
//! from dom0. [`attach_to_bridge`] joins a vif to it. Nothing runs in the background: the kernel holds the
//! configuration, and two small files hold the leases and ports.
#![forbid(unsafe_code)]

mod conntrack;
mod dns;
mod error;
mod lease;
mod link;
mod netlink;
mod network;
mod occupant;
mod port;
mod publish;
mod request;
mod restore;
mod rules;
mod settings;
mod state;
mod table;
mod up;

pub use dns::{Resolver, resolver};
pub use error::NetworkError;
pub use lease::{Lease, LeaseError};
pub use link::{LinkError, Route, wait_for_interface};
pub use network::Network;
pub use occupant::Occupant;
pub use port::attach_to_bridge;
pub use publish::{Protocol, Publish, PublishParseError, Published};
pub use request::{NetworkRequest, NetworkRequestError, check_bridge, static_lease};
pub use restore::Holding;
pub use settings::{InterfaceName, InterfaceNameError, Settings, Subnet, SubnetError};
pub use state::StateError;
pub use table::TableError;
