//! The errors of the network.

use crate::lease::LeaseError;
use crate::link::{LinkError, Route};
use crate::occupant::Occupant;
use crate::publish::Protocol;
use crate::settings::{InterfaceName, Subnet};
use crate::state::StateError;
use crate::table::TableError;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Why the network cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address cannot be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// An interface cannot be changed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The nftables tables cannot be read or changed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The subnet overlaps a route of dom0.
    #[error(
        "subnet {subnet} of bridge {bridge} overlaps dom0's route {route}; set another subnet in [network] of /etc/launch/config.toml"
    )]
    Overlap {
        /// The settings' subnet.
        subnet: Subnet,
        /// The settings' bridge.
        bridge: InterfaceName,
        /// The route that it overlaps.
        route: Route,
    },
    /// An interface with the bridge's name is not a bridge.
    #[error(
        "interface {0} exists but is not a bridge; set another bridge in [network] of /etc/launch/config.toml"
    )]
    NotABridge(InterfaceName),
    /// The bridge exists with another subnet.
    #[error(
        "bridge {bridge} has address {found}, but the settings say {subnet}; stop all apps and remove it (ip link del {bridge}), or set the old subnet again"
    )]
    OtherSubnet {
        /// The settings' bridge.
        bridge: InterfaceName,
        /// The address of the existing bridge.
        found: String,
        /// The settings' subnet.
        subnet: Subnet,
    },
    /// A kernel setting cannot be changed.
    #[error("cannot write {value} to {path}")]
    Sysctl {
        /// The setting's file.
        path: String,
        /// The value.
        value: &'static str,
        /// Why it cannot be written.
        #[source]
        source: io::Error,
    },
    /// Another app has published the port.
    #[error("port {port}/{protocol} is taken by {owner}; choose another with -p")]
    PortOfApp {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The app that has the port.
        owner: String,
    },
    /// A process of dom0 uses the port.
    #[error("port {port}/{protocol} is taken by {}; choose another with -p", describe(.occupant.as_ref()))]
    PortOfProcess {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The process, if it was found.
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
    /// The guest is not on `launch`'s own bridge.
    #[error(
        "cannot publish ports of {0}: only guests on launch's own IPv4 bridge can publish ports"
    )]
    NotOurs(IpAddr),
    /// The check of the port failed.
    #[error("cannot check whether port {port}/{protocol} is free")]
    PortUntried {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn describe(occupant: Option<&Occupant>) -> String {
    occupant.map_or_else(|| "a process in dom0".to_owned(), ToString::to_string)
}

impl NetworkError {
    /// Whether a state file is damaged, so that [`crate::Network::restore`] must rebuild it.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::State(StateError::Damaged { .. }))
    }
}
