//! The network: `lo`, and one interface whose addresses, routes and neighbours come with the
//! orders.

use crate::device;
use crate::failure::{Failure, OrFail, cause};
use crate::netlink::{Batch, BatchError, CREATE, REPLACE, Socket, attribute};
use crate::signals::Signals;
use contract::{Neighbour, Network};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// `RTM_NEWLINK`, `RTM_NEWADDR`, `RTM_NEWROUTE`, `RTM_NEWNEIGH`
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// The loopback interface's index: the kernel makes it first.
const LOOPBACK: u32 = 1;

/// How long the app's start waits for its interface to be connected.
pub const LINK_PATIENCE: Duration = Duration::from_secs(1);

/// What a request was for, to name it where it is refused.
type Purposes = Vec<String>;

/// Brings up `lo`, and `interface` as `network` says; waits for `interface` to appear.
///
/// # Errors
/// The interface does not appear, or the kernel refuses an address, route or neighbour.
pub fn configure(
    interface: &str,
    network: Option<&Network>,
    signals: &Signals,
) -> Result<(), Failure> {
    let socket = Socket::open().or_fail(|| "open an rtnetlink socket".into())?;
    let mut batch = Batch::default();
    let mut purposes = Purposes::new();
    push_up(&mut batch, LOOPBACK);
    purposes.push("bring up lo".into());
    if let Some(network) = network {
        let index = device::wait_for(device::Kind::Interface, interface, signals, || {
            index_of(&socket, interface)
        })?;
        push_network(&mut batch, &mut purposes, interface, index, network);
    }
    socket.carry_out(batch).map_err(|error| match error {
        BatchError::Refused { index, source } => {
            let purpose = purposes.get(index).map_or("set up the network", String::as_str);
            Failure::set_up(format!("cannot {purpose}: {}", cause(source)))
        }
        BatchError::Socket(_) => Failure::from_error(&error),
    })
}

/// Waits for `interface` to be connected, so that the app's first packets are not dropped: one
/// lost to a link that is still coming up costs it a second of retransmission.
///
/// Returns after `patience` at the latest, and whether the interface is connected. If it is not, the
/// app starts all the same and sees a broken network.
pub fn await_link(interface: &str, patience: Duration) -> bool {
    let path = format!("/sys/class/net/{interface}/carrier");
    let connected = || std::fs::read(&path).is_ok_and(|text| text.first() == Some(&b'1'));
    if connected() {
        return true;
    }
    let Ok(changes) = Socket::open_link_changes() else { return false };
    let deadline = Instant::now() + patience;
    while !connected() {
        let left = deadline.saturating_duration_since(Instant::now());
        if !changes.wait(left) {
            return false;
        }
    }
    true
}

fn index_of(socket: &Socket, interface: &str) -> Result<Option<u32>, Failure> {
    match name_to_index(socket, interface) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(error) => Err(error).or_fail(|| format!("look up {interface}")),
    }
}

fn push_network(
    batch: &mut Batch,
    purposes: &mut Purposes,
    interface: &str,
    index: u32,
    network: &Network,
) {
    let Network { address, prefix, gateway, neighbours, dns: _, search: _ } = network;
    if address.is_ipv4() && knows_ipv6() {
        push_no_link_local(batch, index);
        purposes.push(format!("switch IPv6 off on {interface}"));
    }
    push_up(batch, index);
    purposes.push(format!("bring up {interface}"));
    push_address(batch, index, *address, *prefix);
    purposes.push(format!("give {interface} the address {address}/{prefix}"));
    for neighbour in neighbours {
        push_neighbour(batch, index, neighbour);
        purposes.push(format!("name {interface}'s neighbour {}", neighbour.address));
    }
    if let Some(gateway) = gateway {
        push_default_route(batch, index, *gateway);
        purposes.push(format!("set the default route through {gateway}"));
    }
}

/// `struct ifinfomsg`: family, type, index, flags, mask of flags to change.
fn push_up(batch: &mut Batch, index: u32) {
    const UP: u32 = 1;
    let mut fixed = [0u8; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&UP.to_ne_bytes());
    fixed[12..16].copy_from_slice(&UP.to_ne_bytes());
    batch.push(NEW_LINK, 0, &fixed, &[]);
}

/// Keeps the kernel from giving the interface an IPv6 address and announcing it: the address is not used,
/// and each multicast packet wakes every guest on the bridge.
fn push_no_link_local(batch: &mut Batch, index: u32) {
    const AF_SPEC: u16 = 26;
    const INET6_ADDR_GEN_MODE: u16 = 8;
    const ADDR_GEN_MODE_NONE: u8 = 1;
    let mut fixed = [0u8; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let mode = attribute(INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]);
    batch.push(NEW_LINK, 0, &fixed, &[(AF_SPEC, &attribute(AF_INET6.into(), &mode))]);
}

/// A kernel without IPv6 would refuse a request that names it.
fn knows_ipv6() -> bool {
    socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None).is_ok()
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn push_address(batch: &mut Batch, index: u32, address: IpAddr, prefix: u8) {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    const BROADCAST: u16 = 4;
    // The launcher gave the address to this guest alone: no second of duplicate detection.
    const NO_DUPLICATE_DETECTION: u8 = 0x02;
    let (family, bytes) = raw(address);
    let flags = if family == AF_INET6 { NO_DUPLICATE_DETECTION } else { 0 };
    let mut fixed = vec![family, prefix, flags, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let broadcast = broadcast(address, prefix);
    let mut attributes = vec![(LOCAL, bytes.as_slice()), (ADDRESS, bytes.as_slice())];
    if let Some(broadcast) = &broadcast {
        attributes.push((BROADCAST, broadcast));
    }
    batch.push(NEW_ADDRESS, CREATE | REPLACE, &fixed, &attributes);
}

/// `struct ndmsg`: family, padding, index, state, flags, type.
fn push_neighbour(batch: &mut Batch, index: u32, neighbour: &Neighbour) {
    const DESTINATION: u16 = 1;
    const LINK_ADDRESS: u16 = 2;
    const PERMANENT: u16 = 0x80;
    let (family, bytes) = raw(neighbour.address);
    let mut fixed = vec![family, 0, 0, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    fixed.extend_from_slice(&PERMANENT.to_ne_bytes());
    fixed.extend_from_slice(&[0, 0]);
    let attributes =
        [(DESTINATION, bytes.as_slice()), (LINK_ADDRESS, &neighbour.mac.as_bytes()[..])];
    batch.push(NEW_NEIGHBOUR, CREATE | REPLACE, &fixed, &attributes);
}

/// `struct rtmsg`: family, destination and source length, TOS, table, protocol, scope, type,
/// flags.
fn push_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    const OUT_INTERFACE: u16 = 4;
    const GATEWAY: u16 = 5;
    const TABLE_MAIN: u8 = 254;
    const PROTOCOL_BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    // The gateway is on the link even where the prefix does not cover it.
    const ON_LINK: u32 = 4;
    let (family, bytes) = raw(gateway);
    let mut fixed = vec![family, 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, 0, UNICAST];
    fixed.extend_from_slice(&ON_LINK.to_ne_bytes());
    let out = index.to_ne_bytes();
    let attributes = [(GATEWAY, bytes.as_slice()), (OUT_INTERFACE, out.as_slice())];
    batch.push(NEW_ROUTE, CREATE | REPLACE, &fixed, &attributes);
}

fn raw(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

/// The broadcast address of an IPv4 subnet that has one.
fn broadcast(address: IpAddr, prefix: u8) -> Option<[u8; 4]> {
    let IpAddr::V4(address) = address else { return None };
    if prefix > 30 {
        return None;
    }
    let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Some((u32::from(address) | host_bits).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_to_point_prefixes_have_no_broadcast_address() {
        let address: IpAddr = "10.107.3.4".parse().unwrap();
        assert_eq!(broadcast(address, 16), Some([10, 107, 255, 255]));
        assert_eq!(broadcast(address, 0), Some([255, 255, 255, 255]));
        assert_eq!(broadcast(address, 31), None);
        assert_eq!(broadcast("fd00::1".parse().unwrap(), 64), None);
    }
}
