//! What can go wrong with the network.

use crate::lease::LeaseError;
use crate::link::{LinkError, Route};
use crate::occupant::Occupant;
use crate::publish::Protocol;
use crate::settings::{InterfaceName, Subnet};
use crate::state::StateError;
use crate::table::TableError;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Why the network could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// An interface.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The nftables table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The subnet is in use.
    #[error(
        "subnet {subnet} of bridge {bridge} overlaps dom0's route {route}; set another subnet in [network] of /etc/launch/config.toml"
    )]
    Overlap {
        /// Our subnet.
        subnet: Subnet,
        /// Our bridge.
        bridge: InterfaceName,
        /// What it overlaps.
        route: Route,
    },
    /// The bridge's name belongs to something else.
    #[error(
        "interface {0} is there but is not a bridge; set another bridge in [network] of /etc/launch/config.toml"
    )]
    NotABridge(InterfaceName),
    /// The bridge was made for another subnet.
    #[error(
        "bridge {bridge} has address {found}, but the settings say {subnet}; stop all apps and remove it (ip link del {bridge}), or set the old subnet again"
    )]
    OtherSubnet {
        /// Our bridge.
        bridge: InterfaceName,
        /// The address found on it.
        found: String,
        /// Our subnet.
        subnet: Subnet,
    },
    /// A kernel setting.
    #[error("cannot write {value} to {path}")]
    Sysctl {
        /// The setting's file.
        path: String,
        /// The value.
        value: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another of our apps has the port.
    #[error("port {port}/{protocol} is taken by {owner}; choose another with -p")]
    PortOfApp {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The owner that has it.
        owner: String,
    },
    /// A process of dom0 has the port.
    #[error("port {port}/{protocol} is taken by {}; choose another with -p", describe(.occupant.as_ref()))]
    PortOfProcess {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The process, where it could be found.
        occupant: Option<Occupant>,
    },
    /// The same port is given twice.
    #[error("port {port}/{protocol} is published twice; give each -p its own port")]
    PortTwice {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
    },
    /// Dom0 does not have the address to publish on.
    #[error(
        "cannot publish on {0}: dom0 has no such address; give -p one of dom0's addresses, or none"
    )]
    NotDom0s(Ipv4Addr),
    /// The guest's address cannot be published to.
    #[error("cannot publish ports of {0}: only guests on the launcher's own IPv4 bridge have them")]
    NotOurs(IpAddr),
    /// The port could not be tried.
    #[error("cannot check whether port {port}/{protocol} is free")]
    PortUntried {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn describe(occupant: Option<&Occupant>) -> String {
    occupant.map_or_else(|| "a process in dom0".to_owned(), ToString::to_string)
}

impl NetworkError {
    /// Whether a state file is damaged, which [`Network::restore`] puts right.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::State(StateError::Damaged { .. }))
    }
}
