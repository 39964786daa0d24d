//! Makes a container's interface as an engine does: in one process, with netlink.
//!
//! `crun` and `runc` call this as the bundle's `createRuntime` hook. A script with `ip` would take three to four times
//! as long as a small container's start, and no engine uses one.

use anyhow::{Context, Result, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::netdevice::name_to_index;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

/// The interface's name in the container.
const INSIDE: &str = "eth0";

/// The properties of a container's interface.
#[derive(Debug)]
pub struct Interface {
    /// The bridge to attach it to.
    pub bridge: String,
    /// Name of the end in dom0.
    pub outside: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// Prefix length of its network.
    pub prefix_bits: u8,
    /// Its default gateway.
    pub gateway: Ipv4Addr,
}

/// Creates the interface of the container whose state `state` contains, in the form that OCI runtimes give to hooks.
///
/// # Errors
/// The state names no process, or the kernel refuses.
pub fn attach(mut state: impl Read, interface: &Interface) -> Result<()> {
    let mut text = String::new();
    state.read_to_string(&mut text).context("cannot read the container's state")?;
    let state: serde_json::Value = serde_json::from_str(&text).context("the state is not JSON")?;
    let pid = state["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.context("the state names no process")?;

    let mut here = Netlink::open()?;
    let bridge = here.index_of(&interface.bridge)?;
    here.ask(make_pair(&interface.outside, bridge, pid)).context("cannot make the veth pair")?;

    let path = format!("/proc/{pid}/ns/net");
    let space = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter the container's network namespace")?;
    let mut inside = Netlink::open()?;
    let (lo, eth0) = (inside.index_of("lo")?, inside.index_of(INSIDE)?);
    inside.ask(set_up(lo)).context("cannot bring lo up")?;
    let (address, bits) = (interface.address, interface.prefix_bits);
    inside.ask(add_address(eth0, address, bits)).context("cannot set the address")?;
    inside.ask(set_up(eth0)).context("cannot bring the interface up")?;
    inside.ask(add_default_route(eth0, interface.gateway)).context("cannot set the route")
}

/// A veth pair: one end up and on the bridge, the other in the network namespace of a process.
fn make_pair(outside: &str, bridge: u32, pid: u32) -> RouteNetlinkMessage {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![LinkAttribute::IfName(INSIDE.into()), LinkAttribute::NetNsPid(pid)];
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName(outside.into()),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    RouteNetlinkMessage::NewLink(link)
}

fn set_up(index: u32) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(link)
}

fn add_address(index: u32, address: Ipv4Addr, prefix_bits: u8) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix_bits;
    message.header.index = index;
    let ip = IpAddr::V4(address);
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    RouteNetlinkMessage::NewAddress(message)
}

fn add_default_route(index: u32, gateway: Ipv4Addr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let gateway = RouteAttribute::Gateway(RouteAddress::Inet(gateway));
    message.attributes = vec![gateway, RouteAttribute::Oif(index)];
    RouteNetlinkMessage::NewRoute(message)
}

/// A netlink socket, for the namespace in which it was opened.
struct Netlink {
    socket: Socket,
}

impl Netlink {
    fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open a netlink socket")?;
        socket.bind_auto().context("cannot bind a netlink socket")?;
        socket.connect(&SocketAddr::new(0, 0)).context("cannot connect a netlink socket")?;
        Ok(Self { socket })
    }

    fn index_of(&self, name: &str) -> Result<u32> {
        let explain = || format!("there is no interface {name}");
        // Any socket of the namespace suffices.
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        name_to_index(&socket, name).with_context(explain)
    }

    /// Sends a request that creates something, and waits for the kernel's confirmation.
    fn ask(&mut self, message: RouteNetlinkMessage) -> Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io().into()),
            other => bail!("the kernel answered {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_without_a_process_is_refused_before_anything_is_made() {
        let interface = Interface {
            bridge: "no-such-bridge".into(),
            outside: "v-test".into(),
            address: Ipv4Addr::new(10, 0, 0, 2),
            prefix_bits: 24,
            gateway: Ipv4Addr::new(10, 0, 0, 1),
        };
        let refused = |state: &str| attach(state.as_bytes(), &interface).unwrap_err().to_string();
        assert_eq!(refused("{}"), "the state names no process");
        assert_eq!(refused("{"), "the state is not JSON");
        let pid = std::process::id();
        assert_eq!(refused(&format!("{{\"pid\":{pid}}}")), "there is no interface no-such-bridge");
    }
}
