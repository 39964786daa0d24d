//! Interfaces, addresses and routes by rtnetlink. Layouts: `linux/rtnetlink.h`, `linux/if_link.h`.

use crate::netlink::{ACK, Answer, CREATE, DUMP, EXCLUSIVE, Message, Socket, attribute, read_u32};
use crate::settings::Subnet;
use contract::Mac;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

pub(crate) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// The multicast group of link changes.
const RTMGRP_LINK: u32 = 1;

const AF_INET: u8 = 2;
pub(crate) const IFF_UP: u32 = 0x1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// Route types `RTN_UNICAST` and `RTN_LOCAL`.
const ROUTED: [u8; 2] = [1, 2];

/// The sizes of `struct ifinfomsg`, `struct ifaddrmsg` and `struct rtmsg`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;

/// A request about an interface failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}{}", if .source.is_none() { DENIED } else { "" })]
pub struct LinkError {
    action: String,
    /// `None` if this process is not root; the message then says so and what to do.
    #[source]
    source: Option<io::Error>,
}

/// The end of a message without a separate cause.
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

/// The properties of an interface.
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
    /// The network that the route leads to.
    pub network: Ipv4Addr,
    /// Prefix length of `network`.
    pub prefix: u8,
    /// The interface of the route; empty if the interface has no name.
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

    pub(crate) fn ask(
        &mut self,
        action: &str,
        messages: Vec<Message>,
    ) -> Result<Vec<Answer>, LinkError> {
        self.0.ask(messages).map_err(|error| LinkError::new(action, error))
    }

    /// Finds an interface by its name.
    pub(crate) fn find(&mut self, name: &str) -> Result<Option<Link>, LinkError> {
        let request = link_message(RTM_GETLINK, ACK, name, 0, 0);
        match self.ask(&format!("look up interface {name}"), vec![request]) {
            Ok(answers) => Ok(answers.iter().find_map(parse_link)),
            Err(error) if error.is(rustix::io::Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The IPv4 addresses of an interface, or of all, with their prefix lengths.
    pub(crate) fn addresses(
        &mut self,
        index: Option<u32>,
    ) -> Result<Vec<(Ipv4Addr, u8)>, LinkError> {
        let mut header = [0; ADDRESS_HEADER];
        header[0] = AF_INET;
        let request = Message::new(RTM_GETADDR, DUMP, &header);
        let answers = self.ask("list the addresses of dom0", vec![request])?;
        let parse = |answer: &Answer| {
            let body = &answer.body;
            let local = attribute(body, ADDRESS_HEADER, IFA_LOCAL)?;
            (answer.kind == RTM_NEWADDR
                && index.is_none_or(|index| read_u32(body, 4) == Some(index)))
            .then(|| Some((parse_address(local)?, *body.get(1)?)))?
        };
        Ok(answers.iter().filter_map(parse).collect())
    }

    /// A route to an interface other than `own` that shares addresses with `subnet`.
    ///
    /// The default route shares addresses with every subnet and does not count.
    pub(crate) fn overlapping_route(
        &mut self,
        subnet: Subnet,
        own: Option<u32>,
    ) -> Result<Option<Route>, LinkError> {
        let mut header = [0; ROUTE_HEADER];
        header[0] = AF_INET;
        let request = Message::new(RTM_GETROUTE, DUMP, &header);
        let answers = self.ask("list the routes of dom0", vec![request])?;
        let parse = |answer: &Answer| {
            let body = &answer.body;
            let (prefix, kind) = (*body.get(1)?, *body.get(7)?);
            let network = parse_address(attribute(body, ROUTE_HEADER, RTA_DST)?)?;
            let out = attribute(body, ROUTE_HEADER, RTA_OIF).and_then(|oif| read_u32(oif, 0));
            let counts = answer.kind == RTM_NEWROUTE
                && ROUTED.contains(&kind)
                && prefix > 0
                && (out.is_none() || out != own)
                && subnet.overlaps(network, prefix);
            counts.then_some((network, prefix, out))
        };
        // The widest route shows best whose network it is.
        let widest = answers.iter().filter_map(parse).min_by_key(|(_, prefix, _)| *prefix);
        let Some((network, prefix, out)) = widest else { return Ok(None) };
        let interface = match out {
            Some(index) => self.name_of(index)?,
            None => String::new(),
        };
        Ok(Some(Route { network, prefix, interface }))
    }

    fn name_of(&mut self, index: u32) -> Result<String, LinkError> {
        let mut header = [0; LINK_HEADER];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let answers = self.ask(
            &format!("look up interface {index}"),
            vec![Message::new(RTM_GETLINK, ACK, &header)],
        )?;
        let name = answers.iter().find_map(|answer| {
            let name = attribute(&answer.body, LINK_HEADER, IFLA_IFNAME)?;
            Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
        });
        Ok(name.unwrap_or_default())
    }

    /// Makes a bridge, or gives an existing one the same properties. Does not bring it up.
    ///
    /// Without spanning tree and forward delay a port carries packets as soon as it is up. Without multicast snooping
    /// no group of a network without a querier expires. The link address is fixed, so that it does not change with the
    /// ports: guests know it beforehand.
    pub(crate) fn make_bridge(&mut self, name: &str, mac: Mac) -> Result<(), LinkError> {
        let mut request = link_message(RTM_NEWLINK, ACK | CREATE, name, 0, 0);
        request.attribute(IFLA_ADDRESS, mac.as_bytes());
        request.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "bridge");
            info.nest(IFLA_INFO_DATA, |data| {
                data.attribute(IFLA_BR_FORWARD_DELAY, &0_u32.to_ne_bytes());
                data.attribute(IFLA_BR_STP_STATE, &0_u32.to_ne_bytes());
                data.attribute(IFLA_BR_MCAST_SNOOPING, &[0]);
            });
        });
        self.ask(&format!("make bridge {name}"), vec![request]).map(drop)
    }

    /// Gives an interface the gateway's address of `subnet`, unless the interface has it.
    pub(crate) fn add_address(
        &mut self,
        name: &str,
        index: u32,
        subnet: Subnet,
    ) -> Result<(), LinkError> {
        let mut header = [0; ADDRESS_HEADER];
        header[0] = AF_INET;
        header[1] = subnet.prefix();
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut request = Message::new(RTM_NEWADDR, ACK | CREATE | EXCLUSIVE, &header);
        request.attribute(IFA_LOCAL, &subnet.gateway().octets());
        request.attribute(IFA_ADDRESS, &subnet.gateway().octets());
        request.attribute(IFA_BROADCAST, &subnet.broadcast().octets());
        let action = format!("add address {}/{} to {name}", subnet.gateway(), subnet.prefix());
        match self.ask(&action, vec![request]) {
            Err(error) if error.is(rustix::io::Errno::EXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Brings an interface up.
    pub(crate) fn bring_up(&mut self, name: &str) -> Result<(), LinkError> {
        let request = link_message(RTM_NEWLINK, ACK, name, IFF_UP, IFF_UP);
        self.ask(&format!("bring up {name}"), vec![request]).map(drop)
    }

    /// Removes an interface. It is no error if the interface does not exist.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), LinkError> {
        let request = link_message(RTM_DELLINK, ACK, name, 0, 0);
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

/// Waits until an interface exists, woken by the kernel's events.
///
/// # Errors
/// The source is `TimedOut` if the interface does not appear in time. This process is not root.
pub fn wait_for_interface(name: &str, timeout: Duration) -> Result<(), LinkError> {
    let failed = |error| LinkError::new(format!("wait for interface {name}"), error);
    // Listens before it looks, so that no event is missed.
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
            Ok(answers) => answers.iter().any(|answer| names(answer, name)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // The socket had no room, and events were lost.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                true
            }
            Err(error) => return Err(failed(error)),
        };
    }
}

fn names(answer: &Answer, name: &str) -> bool {
    let found = attribute(&answer.body, LINK_HEADER, IFLA_IFNAME);
    answer.kind == RTM_NEWLINK && found.and_then(|f| f.strip_suffix(b"\0")) == Some(name.as_bytes())
}

/// A message about the interface `name` that sets those `flags` that are in `change`.
pub(crate) fn link_message(
    kind: u16,
    options: u16,
    name: &str,
    flags: u32,
    change: u32,
) -> Message {
    let mut header = [0; LINK_HEADER];
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    let mut message = Message::new(kind, options, &header);
    message.text(IFLA_IFNAME, name);
    message
}

fn parse_link(answer: &Answer) -> Option<Link> {
    if answer.kind != RTM_NEWLINK {
        return None;
    }
    let body = &answer.body;
    let info = attribute(body, LINK_HEADER, IFLA_LINKINFO).unwrap_or_default();
    Some(Link {
        index: read_u32(body, 4)?,
        is_up: read_u32(body, 8)? & IFF_UP != 0,
        is_bridge: attribute(info, 0, IFLA_INFO_KIND) == Some(b"bridge\0"),
        mac: attribute(body, LINK_HEADER, IFLA_ADDRESS)
            .and_then(|mac| mac.try_into().ok().map(Mac)),
    })
}

fn parse_address(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}
