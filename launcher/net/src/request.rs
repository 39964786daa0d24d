//! `--network`: `launch`'s own bridge, an admin's bridge, or none.

use crate::lease::Lease;
use crate::link;
use crate::settings::{InterfaceName, InterfaceNameError, mask};
use contract::Mac;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The value of `--network`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkRequest {
    /// `launch`'s own bridge, with a leased address (`default`).
    #[default]
    Launch,
    /// An admin's bridge (`bridge=NAME`), with an address that the admin gives.
    Bridge(InterfaceName),
    /// No network interface (`none`).
    None,
}

/// Why a `--network` or `--ip` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkRequestError {
    /// The value of `--network` has none of the valid forms.
    #[error("network `{0}` is not known: write default, bridge=NAME or none")]
    Unknown(String),
    /// Docker's `host`, which a domain cannot have.
    #[error("network `host` is not possible: a domain has its own network; publish ports with -p")]
    Host,
    /// The name after `bridge=` is not valid.
    #[error(transparent)]
    Name(#[from] InterfaceNameError),
    /// The interface does not exist.
    #[error("bridge {0} does not exist; create it first, e.g. with `ip link add {0} type bridge`")]
    Missing(InterfaceName),
    /// The interface is not a bridge.
    #[error("interface {0} is not a bridge; name a bridge in --network")]
    NotABridge(InterfaceName),
    /// The bridge is `launch`'s own, where apps have leases.
    #[error(
        "bridge {0} is launch's own: leave out --network, and add --ip ADDRESS to choose an address"
    )]
    Own(InterfaceName),
    /// The bridge is down.
    #[error("bridge {0} is down; bring it up with `ip link set {0} up`")]
    Down(InterfaceName),
    /// No address was given.
    #[error(
        "an app on bridge {0} needs an address, because guests do not use DHCP: add --ip ADDRESS/PREFIX"
    )]
    NoAddress(InterfaceName),
    /// The address does not have the form `ADDRESS/PREFIX`.
    #[error("address `{0}` is not valid: write ADDRESS/PREFIX, e.g. 192.168.1.50/24")]
    Address(String),
    /// The address stands for the whole subnet.
    #[error("address {0} is the {1} of its subnet; choose another with --ip")]
    Reserved(Ipv4Addr, &'static str),
    /// The gateway is the guest's own address or outside its subnet.
    #[error("gateway {gateway} is not another address of the subnet of {address}/{prefix}")]
    Gateway {
        /// The gateway.
        gateway: IpAddr,
        /// The guest's address.
        address: Ipv4Addr,
        /// The prefix length.
        prefix: u8,
    },
    /// The kernel refuses.
    #[error(transparent)]
    Link(#[from] link::LinkError),
}

impl FromStr for NetworkRequest {
    type Err = NetworkRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some(("bridge", name)) => Ok(Self::Bridge(name.parse()?)),
            None if text == "default" => Ok(Self::Launch),
            None if text == "none" => Ok(Self::None),
            None if text == "host" => Err(NetworkRequestError::Host),
            _ => Err(NetworkRequestError::Unknown(text.to_owned())),
        }
    }
}

/// Checks that an admin's bridge exists, is a bridge, and is up.
///
/// # Errors
/// The first check that fails.
pub fn check_bridge(name: &InterfaceName) -> Result<(), NetworkRequestError> {
    let link =
        link::find(name.as_str())?.ok_or_else(|| NetworkRequestError::Missing(name.clone()))?;
    if !link.is_bridge {
        Err(NetworkRequestError::NotABridge(name.clone()))
    } else if !link.is_up {
        Err(NetworkRequestError::Down(name.clone()))
    } else {
        Ok(())
    }
}

/// The addresses of a guest on an admin's bridge: the one in `ip` (`ADDRESS/PREFIX`), and a link address made from
/// `owner`.
///
/// # Errors
/// The address is missing or not valid, or the gateway is outside its subnet.
pub fn static_lease(
    bridge: &InterfaceName,
    owner: &str,
    ip: Option<&str>,
    gateway: Option<IpAddr>,
) -> Result<Lease, NetworkRequestError> {
    let text = ip.ok_or_else(|| NetworkRequestError::NoAddress(bridge.clone()))?;
    let wrong = || NetworkRequestError::Address(text.to_owned());
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if !(1..=32).contains(&prefix) || matches!(address.octets()[0], 0 | 127 | 224..) {
        return Err(wrong());
    }
    check_host(address, prefix).map_err(|role| NetworkRequestError::Reserved(address, role))?;
    if let Some(gateway) = gateway {
        let reachable = matches!(gateway, IpAddr::V4(gateway)
            if (gateway.to_bits() ^ address.to_bits()) & mask(prefix) == 0
                && gateway != address
                && check_host(gateway, prefix).is_ok());
        if !reachable {
            return Err(NetworkRequestError::Gateway { gateway, address, prefix });
        }
    }
    Ok(Lease { address: address.into(), prefix, gateway, mac: mac_for_owner(owner) })
}

/// Checks that the address may belong to a host. Subnets of one or two addresses (RFC 3021) reserve none.
fn check_host(address: Ipv4Addr, prefix: u8) -> Result<(), &'static str> {
    match address.to_bits() & !mask(prefix) {
        _ if prefix >= 31 => Ok(()),
        0 => Err("network address"),
        bits if bits == !mask(prefix) => Err("broadcast address"),
        _ => Ok(()),
    }
}

/// A link address in Xen's range, made with FNV-1a from this machine's id and the owner.
///
/// The machine's id is included because the admin's network may hold guests of other machines.
fn mac_for_owner(owner: &str) -> Mac {
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    let hash = machine.iter().chain(owner.as_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, ..] = (hash ^ (hash >> 32)).to_le_bytes();
    // Xen's own tools keep the fourth byte below 0x80 too.
    Mac::of_guest([a & 0x7f, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(ip: Option<&str>, gateway: Option<&str>) -> Result<Lease, NetworkRequestError> {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        static_lease(&"xenbr0".parse().unwrap(), "web", ip, gateway)
    }

    #[test]
    fn the_three_choices_parse() {
        assert_eq!("default".parse::<NetworkRequest>().unwrap(), NetworkRequest::Launch);
        assert_eq!("none".parse::<NetworkRequest>().unwrap(), NetworkRequest::None);
        let own = "bridge=xenbr0".parse::<NetworkRequest>().unwrap();
        assert_eq!(own, NetworkRequest::Bridge("xenbr0".parse().unwrap()));
    }

    #[test]
    fn another_choice_says_what_to_write() {
        let message = |text: &str| text.parse::<NetworkRequest>().unwrap_err().to_string();
        assert!(message("host").contains("publish ports with -p"));
        assert!(message("web").contains("write default, bridge=NAME or none"));
        assert!(message("bridge=").contains("is not an interface name"));
        assert!(message("bridge=a b").contains("is not an interface name"));
    }

    #[test]
    fn an_address_on_an_admins_bridge_is_checked() {
        let good = lease(Some("192.168.1.50/24"), Some("192.168.1.1")).unwrap();
        assert_eq!((good.prefix, good.mac.as_bytes()[..3].to_vec()), (24, vec![0x00, 0x16, 0x3e]));
        lease(Some("192.168.1.50/24"), None).unwrap();
        let message = |ip, gateway| lease(ip, gateway).unwrap_err().to_string();
        assert!(message(None, None).contains("add --ip ADDRESS/PREFIX"));
        assert!(message(Some("192.168.1.50"), None).contains("write ADDRESS/PREFIX"));
        assert!(message(Some("192.168.1.50/33"), None).contains("write ADDRESS/PREFIX"));
        assert!(message(Some("127.0.0.1/8"), None).contains("write ADDRESS/PREFIX"));
        assert!(message(Some("192.168.1.0/24"), None).contains("network address"));
        assert!(message(Some("192.168.1.255/24"), None).contains("broadcast"));
        for bad in ["192.168.2.1", "192.168.1.50", "192.168.1.255", "fe80::1"] {
            assert!(message(Some("192.168.1.50/24"), Some(bad)).contains("is not another address"));
        }
    }

    #[test]
    fn owners_get_different_link_addresses_and_keep_them() {
        assert_eq!(mac_for_owner("web"), mac_for_owner("web"));
        assert_ne!(mac_for_owner("web"), mac_for_owner("db"));
    }
}
