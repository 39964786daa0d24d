//! Interfaces, addresses and routes by rtnetlink.

use crate::netlink::{Answer, Socket};
use crate::settings::Subnet;
use contract::Mac;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage::{
    self as Message, DelLink, GetAddress, GetLink, GetRoute, NewAddress, NewLink, NewRoute,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// The multicast group of link changes.
const RTMGRP_LINK: u32 = 1;

/// A request about an interface that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}{}", if .source.is_none() { DENIED } else { "" })]
pub struct LinkError {
    action: String,
    /// None: not root, which the message says together with what to do.
    #[source]
    source: Option<io::Error>,
}

/// What a message ends with instead of a cause.
pub(crate) const DENIED: &str = ": permission denied; run as root in dom0";

impl LinkError {
    pub(crate) fn new(action: impl Into<String>, source: io::Error) -> Self {
        let source = (source.kind() != io::ErrorKind::PermissionDenied).then_some(source);
        Self { action: action.into(), source }
    }

    pub(crate) fn is(&self, errno: rustix::io::Errno) -> bool {
        self.source.as_ref().and_then(io::Error::raw_os_error) == Some(errno.raw_os_error())
    }
}

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) is_up: bool,
    pub(crate) is_bridge: bool,
    pub(crate) mac: Option<Mac>,
}

/// A route of dom0, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub network: Ipv4Addr,
    /// Prefix length of `network`.
    pub prefix: u8,
    /// Over which interface; empty where that has no name.
    pub interface: String,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)?;
        if self.interface.is_empty() { Ok(()) } else { write!(f, " on {}", self.interface) }
    }
}

/// A connection to the kernel's network configuration.
#[derive(Debug)]
pub(crate) struct Links(Socket);

impl Links {
    pub(crate) fn open() -> Result<Self, LinkError> {
        let socket = Socket::open(None, 0);
        Ok(Self(socket.map_err(|error| LinkError::new("open a netlink socket", error))?))
    }

    /// Sends requests in one go and returns the kernel's answers to all of them.
    pub(crate) fn ask(
        &mut self,
        action: &str,
        requests: Vec<Request>,
    ) -> Result<Vec<Message>, LinkError> {
        let (mut bytes, count) = (Vec::with_capacity(256), requests.len());
        for (request, sequence) in requests.into_iter().zip(1..) {
            let mut packet = NetlinkMessage::from(request.message);
            packet.header.flags = NLM_F_REQUEST | request.flags;
            packet.header.sequence_number = sequence;
            packet.finalize();
            let start = bytes.len();
            bytes.resize(start + packet.buffer_len(), 0);
            packet.serialize(&mut bytes[start..]);
        }
        let answers = self.0.exchange(&bytes, count);
        answers
            .and_then(|answers| answers.iter().map(parse).collect())
            .map_err(|error| LinkError::new(action, error))
    }

    /// Finds an interface by its name.
    pub(crate) fn find(&mut self, name: &str) -> Result<Option<Link>, LinkError> {
        let request = Request { message: GetLink(named(name)), flags: NLM_F_ACK };
        match self.ask(&format!("look up interface {name}"), vec![request]) {
            Ok(answers) => Ok(answers.iter().find_map(to_link)),
            Err(error) if error.is(rustix::io::Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The IPv4 addresses of an interface, or of all, with their prefix lengths.
    pub(crate) fn addresses(
        &mut self,
        index: Option<u32>,
    ) -> Result<Vec<(Ipv4Addr, u8)>, LinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let request = Request { message: GetAddress(message), flags: NLM_F_DUMP };
        let answers = self.ask("list the addresses of dom0", vec![request])?;
        let local = |answer: &Message| {
            let NewAddress(found) = answer else { return None };
            if index.is_some_and(|index| index != found.header.index) {
                return None;
            }
            found.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => {
                    Some((*address, found.header.prefix_len))
                }
                _ => None,
            })
        };
        Ok(answers.iter().filter_map(local).collect())
    }

    /// A route that leads elsewhere than to `own` and shares addresses with `subnet`.
    ///
    /// The default route shares them with everything and does not count.
    pub(crate) fn overlapping_route(
        &mut self,
        subnet: Subnet,
        own: Option<u32>,
    ) -> Result<Option<Route>, LinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        let request = Request { message: GetRoute(message), flags: NLM_F_DUMP };
        let answers = self.ask("list the routes of dom0", vec![request])?;
        let overlapping = |answer: &Message| {
            let NewRoute(found) = answer else { return None };
            let prefix = found.header.destination_prefix_length;
            let network = found.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(network)) => Some(*network),
                _ => None,
            })?;
            let out = found.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
            let counts = matches!(found.header.kind, RouteType::Unicast | RouteType::Local)
                && prefix > 0
                && (out.is_none() || out != own)
                && subnet.overlaps(network, prefix);
            counts.then_some((network, prefix, out))
        };
        // The widest says best whose network it is.
        let widest = answers.iter().filter_map(overlapping).min_by_key(|(_, prefix, _)| *prefix);
        let Some((network, prefix, out)) = widest else { return Ok(None) };
        let interface = match out {
            Some(index) => self.name_of(index)?,
            None => String::new(),
        };
        Ok(Some(Route { network, prefix, interface }))
    }

    fn name_of(&mut self, index: u32) -> Result<String, LinkError> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        let request = Request { message: GetLink(link), flags: NLM_F_ACK };
        let answers = self.ask(&format!("look up interface {index}"), vec![request])?;
        let name = answers.iter().find_map(name_of).map(str::to_owned);
        Ok(name.unwrap_or_default())
    }

    /// Makes a bridge, or gives the one that is there the same properties. Does not bring it up.
    ///
    /// Without spanning tree and forward delay a port carries packets as soon as it is up; without
    /// multicast snooping no timer of an unqueried network loses groups. The link address is given,
    /// so that it stays when ports come and go: guests know it beforehand.
    pub(crate) fn make_bridge(&mut self, name: &str, mac: Mac) -> Result<(), LinkError> {
        let mut bridge = named(name);
        bridge.attributes.extend([
            LinkAttribute::Address(mac.as_bytes().to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(vec![
                    InfoBridge::ForwardDelay(0),
                    InfoBridge::StpState(BridgeStpState::Disabled),
                    InfoBridge::MulticastSnooping(false),
                ])),
            ]),
        ]);
        let request = Request { message: NewLink(bridge), flags: NLM_F_ACK | NLM_F_CREATE };
        self.ask(&format!("make bridge {name}"), vec![request]).map(drop)
    }

    /// Gives an interface the gateway's address of `subnet`, unless it has it.
    pub(crate) fn add_address(
        &mut self,
        name: &str,
        index: u32,
        subnet: Subnet,
    ) -> Result<(), LinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = subnet.prefix();
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(subnet.gateway().into()),
            AddressAttribute::Address(subnet.gateway().into()),
            AddressAttribute::Broadcast(subnet.broadcast()),
        ];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let request = Request { message: NewAddress(message), flags };
        let action = format!("add address {}/{} to {name}", subnet.gateway(), subnet.prefix());
        match self.ask(&action, vec![request]) {
            Err(error) if error.is(rustix::io::Errno::EXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Brings an interface up.
    pub(crate) fn bring_up(&mut self, name: &str) -> Result<(), LinkError> {
        self.ask(&format!("bring up {name}"), vec![up(named(name))]).map(drop)
    }

    /// Removes an interface; one that is not there is no error.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), LinkError> {
        let request = Request { message: DelLink(named(name)), flags: NLM_F_ACK };
        match self.ask(&format!("remove interface {name}"), vec![request]) {
            Err(error) if error.is(rustix::io::Errno::NODEV) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// Finds an interface by its name.
pub(crate) fn find(name: &str) -> Result<Option<Link>, LinkError> {
    Links::open()?.find(name)
}

/// Waits until an interface is there, woken by the kernel's events.
///
/// # Errors
/// `TimedOut` as the source when it does not come in time; not root.
pub fn wait_for_interface(name: &str, timeout: Duration) -> Result<(), LinkError> {
    let failed = |error| LinkError::new(format!("wait for interface {name}"), error);
    // Listening starts before the first look, so that nothing falls in between.
    let mut events = Socket::open(None, RTMGRP_LINK).map_err(failed)?;
    let deadline = Instant::now() + timeout;
    let mut look = true;
    loop {
        if look && find(name)?.is_some() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        events.set_timeout(left).map_err(failed)?;
        look = match events.receive() {
            Ok(answers) => answers.iter().any(|answer| is_about(answer, name)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // Events were lost for want of room.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                true
            }
            Err(error) => return Err(failed(error)),
        };
    }
}

/// Whether an event is about the interface `name`; one that cannot be read may be.
fn is_about(event: &Answer, name: &str) -> bool {
    match parse(event) {
        Ok(message) => matches!(message, NewLink(_)) && name_of(&message) == Some(name),
        Err(_) => true,
    }
}

/// One request to rtnetlink: a message, and how it is meant (`NLM_F_*`).
pub(crate) struct Request {
    pub(crate) message: Message,
    pub(crate) flags: u16,
}

/// A message about the interface `name`.
pub(crate) fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    link
}

/// Brings up the interface that `link` is about, with what else it says.
pub(crate) fn up(mut link: LinkMessage) -> Request {
    link.header.flags |= LinkFlags::Up;
    link.header.change_mask |= LinkFlags::Up;
    Request { message: NewLink(link), flags: NLM_F_ACK }
}

fn parse(answer: &Answer) -> io::Result<Message> {
    let mut header = NetlinkHeader::default();
    header.message_type = answer.kind;
    Message::deserialize(&header, &answer.body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

fn name_of(message: &Message) -> Option<&str> {
    let NewLink(link) = message else { return None };
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn to_link(message: &Message) -> Option<Link> {
    let NewLink(link) = message else { return None };
    let mut found = Link {
        index: link.header.index,
        is_up: link.header.flags.contains(LinkFlags::Up),
        is_bridge: false,
        mac: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(mac) => found.mac = mac.as_slice().try_into().ok().map(Mac),
            LinkAttribute::LinkInfo(info) => {
                found.is_bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    Some(found)
}
