//! A guest's interface as a port of a bridge, and the guest as a neighbour of dom0.
//!
//! On `launch`'s own bridge each guest's addresses are known beforehand. Dom0 and the bridge are told these instead of
//! learning them from packets. So ARP requests are not broadcast (the bridge answers the guests' requests from
//! dom0's neighbour table), packets for a guest that is still starting do not reach other guests, no guest can wake
//! all others, and none can receive another's packets.
//!
//! Layouts: `linux/neighbour.h`, `linux/if_link.h`.

use crate::link::{IFF_UP, IFLA_LINKINFO, LinkError, Links, RTM_NEWLINK, link_message};
use crate::netlink::{ACK, CREATE, Message, REPLACE};
use contract::Mac;
use std::net::Ipv4Addr;

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;

const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const IFF_NOARP: u32 = 0x80;
const IFF_MULTICAST: u32 = 0x1000;

/// The group of all guests' interfaces on `launch`'s own bridge, by which rules match them: "la" in ASCII.
pub(crate) const GUEST_GROUP: u32 = 0x6c61;

const IFLA_MASTER: u16 = 10;
const IFLA_GROUP: u16 = 27;
const IFLA_AF_SPEC: u16 = 26;
const AF_INET6: u16 = 10;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
/// The bridge answers ARP requests for the guest behind this port. The option is named after Wi-Fi access points,
/// which needed it first.
const IFLA_BRPORT_PROXYARP_WIFI: u16 = 12;
const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
const IFLA_BRPORT_BCAST_FLOOD: u16 = 30;
/// Selects those of the 16 link addresses reserved for bridges (01:80:c2:00:00:0X) whose frames are treated like all
/// others.
const IFLA_BRPORT_GROUP_FWD_MASK: u16 = 31;
/// All except the one for Ethernet flow control, which Linux drops. Otherwise some of these frames would bypass the
/// bridge's rules, and dom0 would take them as if they came from outside the bridge.
const NO_KEPT_ADDRESSES: u16 = !(1 << 1);
/// Drops frames whose source link address is not known to be behind this port. From Linux 5.18; older kernels ignore
/// it.
const IFLA_BRPORT_LOCKED: u16 = 39;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// The entry is never resolved again. In a bridge's table it marks an address of dom0 itself.
const NUD_PERMANENT: u16 = 0x80;
/// In a bridge's table: the entry never expires.
const NUD_NOARP: u16 = 0x40;
/// The entry belongs to the table of the port's bridge.
const NTF_MASTER: u8 = 0x04;

/// Makes `interface` a port of `bridge` and brings it up. With `guest`, only the guest with this link address sends and
/// receives there, and it receives nowhere else. Without `guest`, the bridge learns the addresses behind the port.
///
/// Dom0's end of a vif is only a port: it joins no multicast groups, has no IPv6 address, and answers no ARP requests
/// itself. The bridge answers ARP through it, so it lacks the flag `NOARP`, with which Linux would send no ARP.
///
/// # Errors
/// The interface or bridge does not exist, the bridge is another kind of interface, or this process is not root.
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
    let arp = if guest.is_some() { 0 } else { IFF_NOARP };
    let mut join = link_message(RTM_NEWLINK, ACK, interface, arp, IFF_NOARP | IFF_MULTICAST);
    join.attribute(IFLA_MASTER, &master.to_ne_bytes());
    if guest.is_some() {
        join.attribute(IFLA_GROUP, &GUEST_GROUP.to_ne_bytes());
    }
    join.nest(IFLA_AF_SPEC, |families| {
        families.nest(AF_INET6, |inet6| {
            inet6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
        });
    });
    let mut up = link_message(RTM_NEWLINK, ACK, interface, IFF_UP, IFF_UP);
    let mut messages = vec![join];
    if let Some(mac) = guest {
        let port = index(interface)?;
        up.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_SLAVE_KIND, "bridge");
            info.nest(IFLA_INFO_SLAVE_DATA, |data| {
                data.attribute(IFLA_BRPORT_LEARNING, &[0]);
                data.attribute(IFLA_BRPORT_UNICAST_FLOOD, &[0]);
                data.attribute(IFLA_BRPORT_MCAST_FLOOD, &[0]);
                data.attribute(IFLA_BRPORT_BCAST_FLOOD, &[0]);
                data.attribute(IFLA_BRPORT_PROXYARP_WIFI, &[1]);
                data.attribute(IFLA_BRPORT_GROUP_FWD_MASK, &NO_KEPT_ADDRESSES.to_ne_bytes());
                data.attribute(IFLA_BRPORT_LOCKED, &[1]);
            });
        });
        let mut behind = neighbour_message(RTM_NEWNEIGH, AF_BRIDGE, port, NUD_NOARP, NTF_MASTER);
        behind.attribute(NDA_LLADDR, mac.as_bytes());
        messages.push(behind);
    }
    messages.push(up);
    links.ask(&action(), messages).map(drop)
}

/// Adds an entry to dom0's neighbour table. Does nothing if `bridge` does not exist.
pub(crate) fn know_neighbour(bridge: &str, address: Ipv4Addr, mac: Mac) -> Result<(), LinkError> {
    let mut links = Links::open()?;
    let Some(link) = links.find(bridge)? else { return Ok(()) };
    let mut request = neighbour_message(RTM_NEWNEIGH, AF_INET, link.index, NUD_PERMANENT, 0);
    request.attribute(NDA_DST, &address.octets());
    request.attribute(NDA_LLADDR, mac.as_bytes());
    links.ask(&format!("set the neighbour {address} on {bridge}"), vec![request]).map(drop)
}

/// Whether dom0's neighbour table has this address on the interface with this index.
pub(crate) fn knows_neighbour(
    links: &mut Links,
    index: u32,
    address: Ipv4Addr,
) -> Result<bool, LinkError> {
    let mut request = neighbour_message(RTM_GETNEIGH, AF_INET, index, 0, 0);
    request.attribute(NDA_DST, &address.octets());
    match links.ask(&format!("look up the neighbour {address}"), vec![request]) {
        Err(error) if error.is(rustix::io::Errno::NOENT) => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Removes these addresses of `bridge` from dom0's neighbour table. It is no error if an address or the bridge does not
/// exist.
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
        let mut request = neighbour_message(RTM_DELNEIGH, AF_INET, link.index, 0, 0);
        request.attribute(NDA_DST, &address.octets());
        match links.ask(&format!("remove the neighbour {address} on {bridge}"), vec![request]) {
            Err(error) if error.is(rustix::io::Errno::NOENT) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// `struct ndmsg`: family, padding, interface index, state, flags, type.
fn neighbour_message(kind: u16, family: u8, index: u32, state: u16, flags: u8) -> Message {
    let mut header = [0; 12];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    header[10] = flags;
    // A deletion ignores the last two flags. A query with them would list all neighbours.
    let how = if kind == RTM_GETNEIGH { ACK } else { ACK | CREATE | REPLACE };
    Message::new(kind, how, &header)
}
