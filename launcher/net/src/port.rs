//! A guest's interface as a port of a bridge, and the guest as dom0's neighbour.
//!
//! On our own bridge the address of each guest is known beforehand. Dom0 and the bridge are told it, instead
//! of learning it from packets. So ARP requests are not broadcast (the bridge answers those of guests from
//! dom0's neighbour table), a packet for a guest that is still starting does not go to all others, no guest
//! wakes all others, and none can receive another's packets.

use crate::link::{LinkError, Links, Request, named, up};
use contract::Mac;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage::{
    DelNeighbour, GetNeighbour, NewLink, NewNeighbour,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoPortData, InfoPortKind,
    LinkAttribute, LinkFlags, LinkInfo,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use std::net::Ipv4Addr;

/// The group of all guests' interfaces on our own bridge, by which the rules know them: "la" in ASCII.
pub(crate) const GUEST_GROUP: u32 = 0x6c61;

/// For which of the 16 link addresses that bridges keep for themselves (01:80:c2:00:00:0X) frames are
/// treated like all others: all but the one for pauses of the wire, which Linux drops. Without this, some
/// of these frames would pass by the bridge's rules, and dom0 would take them as if they came from outside
/// the bridge.
const NO_KEPT_ADDRESSES: u16 = !(1 << 1);

/// Makes `interface` a port of `bridge` and brings it up. With a `guest`, only the guest with this link
/// address receives and sends there, and it receives nowhere else; without, the bridge learns the
/// addresses behind the port.
///
/// Dom0's end of a vif is a port only: it joins no multicast groups, has no IPv6 address, and answers no
/// ARP but what the bridge answers through it (Linux sends no ARP at all through one with `NOARP`).
///
/// # Errors
/// No such interface or bridge, not a bridge, or not root.
pub fn attach_to_bridge(
    interface: &str,
    bridge: &str,
    guest: Option<Mac>,
) -> Result<(), LinkError> {
    let action = || format!("attach interface {interface} to bridge {bridge}");
    let mut links = Links::open()?;
    let mut index = |name: &str| {
        let missing = || LinkError::new(action(), rustix::io::Errno::NODEV.into());
        Ok(links.find(name)?.ok_or_else(missing)?.index)
    };
    let master = index(bridge)?;
    let mut join = named(interface);
    join.header.change_mask = LinkFlags::Noarp | LinkFlags::Multicast;
    join.attributes.push(LinkAttribute::Controller(master));
    match guest {
        Some(_) => join.attributes.push(LinkAttribute::Group(GUEST_GROUP)),
        None => join.header.flags = LinkFlags::Noarp,
    }
    let no_address = vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)];
    join.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(no_address)]));
    let mut requests = vec![Request { message: NewLink(join), flags: NLM_F_ACK }];
    let mut port = named(interface);
    if let Some(mac) = guest {
        port.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(guest_port())),
        ]));
        let mut behind = NeighbourMessage::default();
        behind.header.family = AddressFamily::Bridge;
        behind.header.ifindex = index(interface)?;
        // Never forgotten, in the table of the port's bridge.
        behind.header.state = NeighbourState::Noarp;
        behind.header.flags = NeighbourFlags::Controller;
        behind.attributes = vec![link_address(mac)];
        requests.push(Request { message: NewNeighbour(behind), flags: SET });
    }
    requests.push(up(port));
    links.ask(&action(), requests).map(drop)
}

/// A port that learns nothing and floods nothing, and passes only what comes from the link address that
/// is known to be behind it (`Locked`, from Linux 5.18; older kernels ignore it). The bridge answers ARP
/// requests for the guest behind it (`ProxyARPWifi`, named after the access points that needed it first).
fn guest_port() -> Vec<InfoBridgePort> {
    vec![
        InfoBridgePort::Learning(false),
        InfoBridgePort::UnicastFlood(false),
        InfoBridgePort::MulticastFlood(false),
        InfoBridgePort::BroadcastFlood(false),
        InfoBridgePort::ProxyARPWifi(true),
        InfoBridgePort::GroupFwdMask(NO_KEPT_ADDRESSES),
        InfoBridgePort::Locked(true),
    ]
}

/// Tells dom0 who has an address of `bridge`; one that is not there cannot be told.
pub(crate) fn know_neighbour(bridge: &str, address: Ipv4Addr, mac: Mac) -> Result<(), LinkError> {
    let mut links = Links::open()?;
    let Some(link) = links.find(bridge)? else { return Ok(()) };
    let mut neighbour = neighbour(link.index, address);
    neighbour.header.state = NeighbourState::Permanent;
    neighbour.attributes.push(link_address(mac));
    let request = Request { message: NewNeighbour(neighbour), flags: SET };
    links.ask(&format!("tell who has {address} on {bridge}"), vec![request]).map(drop)
}

/// Whether dom0 knows who has an address of the interface with this index.
pub(crate) fn knows_neighbour(
    links: &mut Links,
    index: u32,
    address: Ipv4Addr,
) -> Result<bool, LinkError> {
    let request = Request { message: GetNeighbour(neighbour(index, address)), flags: NLM_F_ACK };
    match links.ask(&format!("ask who has {address}"), vec![request]) {
        Err(error) if error.is(rustix::io::Errno::NOENT) => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Forgets who has these addresses of `bridge`; of one that is not known, or a bridge that is not
/// there, there is nothing to forget.
pub(crate) fn forget_neighbours(
    bridge: &str,
    addresses: impl IntoIterator<Item = Ipv4Addr>,
) -> Result<(), LinkError> {
    let mut addresses = addresses.into_iter().peekable();
    if addresses.peek().is_none() {
        return Ok(());
    }
    let mut links = Links::open()?;
    let Some(link) = links.find(bridge)? else { return Ok(()) };
    for address in addresses {
        let message = DelNeighbour(neighbour(link.index, address));
        let request = Request { message, flags: NLM_F_ACK };
        match links.ask(&format!("forget who has {address} on {bridge}"), vec![request]) {
            Err(error) if error.is(rustix::io::Errno::NOENT) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// Makes an entry or changes it.
const SET: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;

/// About the neighbour with this address at the interface with this index.
fn neighbour(index: u32, address: Ipv4Addr) -> NeighbourMessage {
    let mut neighbour = NeighbourMessage::default();
    neighbour.header.family = AddressFamily::Inet;
    neighbour.header.ifindex = index;
    let destination = NeighbourAttribute::Destination(NeighbourAddress::Inet(address));
    neighbour.attributes = vec![destination];
    neighbour
}

fn link_address(mac: Mac) -> NeighbourAttribute {
    NeighbourAttribute::LinkLocalAddress(mac.as_bytes().to_vec())
}
