//! Published ports: their text form, and which owner has which port.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The protocols whose ports can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports of dom0 that lead to ports of a guest: `[IP:]HOST[-LAST]:GUEST[-LAST][/tcp|/udp]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Publish {
    /// The address of dom0 to publish on; `None` for all addresses.
    pub address: Option<Ipv4Addr>,
    /// The first port on dom0.
    pub host: u16,
    /// The first port of the guest.
    pub guest: u16,
    /// How many consecutive ports are published, at least 1.
    pub count: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// The error for text that is not a valid port to publish.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish `{text}`: {reason}")]
pub struct PublishParseError {
    text: String,
    reason: &'static str,
}

/// One port of dom0 that leads to one port of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) protocol: Protocol,
    pub(crate) host: u16,
    pub(crate) guest: u16,
}

impl Publish {
    /// The ports one by one.
    pub(crate) fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        (0..self.count).map(|n| Port {
            address: self.address,
            protocol: self.protocol,
            host: self.host + n,
            guest: self.guest + n,
        })
    }

    /// The first port of dom0 that both need.
    fn conflict(&self, other: &Self) -> Option<u16> {
        let same_address = match (self.address, other.address) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        let first = self.host.max(other.host);
        let last = self.last_host().min(other.last_host());
        (self.protocol == other.protocol && same_address && first <= last).then_some(first)
    }

    fn last_host(&self) -> u16 {
        self.host + (self.count - 1)
    }
}

const FORM: &str = "write [IP:]HOST:GUEST[/udp], e.g. 8080:80 or 127.0.0.1:5353:53/udp";

impl FromStr for Publish {
    type Err = PublishParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason| PublishParseError { text: text.to_owned(), reason };
        let (rest, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((rest, "tcp")) => (rest, Protocol::Tcp),
            Some((rest, "udp")) => (rest, Protocol::Udp),
            Some(_) => return Err(wrong("the protocol must be tcp or udp")),
        };
        if rest.starts_with('[') {
            return Err(wrong("only IPv4 addresses of dom0 can be published on"));
        }
        let (rest, guest) = rest.rsplit_once(':').ok_or_else(|| wrong(FORM))?;
        let (address, host) = match rest.rsplit_once(':') {
            None => (None, rest),
            Some((address, host)) => {
                let address: Ipv4Addr = address.parse().map_err(|_| wrong(FORM))?;
                (Some(address).filter(|address| !address.is_unspecified()), host)
            }
        };
        let (host, host_count) = parse_range(host).map_err(wrong)?;
        let (guest, guest_count) = parse_range(guest).map_err(wrong)?;
        if host_count != guest_count {
            return Err(wrong("both port ranges must have the same length"));
        }
        Ok(Self { address, host, guest, count: host_count, protocol })
    }
}

/// Parses `FIRST[-LAST]` into the first port and the number of ports.
fn parse_range(text: &str) -> Result<(u16, u16), &'static str> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            Err("a port is a number from 1 to 65535")
        }
        _ => Err(FORM),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    let count = last.checked_sub(first).ok_or("a port range goes from the lower to the higher")?;
    // Without port 0 there are at most 65535 ports, so this cannot overflow.
    Ok((first, count + 1))
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}:")?;
        }
        let range = |first: u16| match self.count {
            1 => first.to_string(),
            count => format!("{first}-{}", first + (count - 1)),
        };
        write!(f, "{}:{}/{}", range(self.host), range(self.guest), self.protocol)
    }
}

impl TryFrom<String> for Publish {
    type Error = PublishParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Publish> for String {
    fn from(publish: Publish) -> Self {
        publish.to_string()
    }
}

/// The ports that one owner has published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The published ports.
    pub ports: Vec<Publish>,
}

/// The file of published ports.
pub(crate) type Ports = BTreeMap<String, Published>;

/// A published port and the guest that it leads to.
pub(crate) type Target = (Ipv4Addr, Port);

/// All ports of all owners, one by one.
pub(crate) fn targets(ports: &Ports) -> Vec<Target> {
    let each = |published: &Published| {
        let address = published.address;
        let ports: Vec<_> = published.ports.iter().flat_map(Publish::ports).collect();
        ports.into_iter().map(move |port| (address, port))
    };
    ports.values().flat_map(each).collect()
}

/// A port that two owners need.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// The other owner; `None` if the same list contains the port twice.
    pub(crate) owner: Option<String>,
}

/// Finds a port of `wanted` that another owner has or that is in `wanted` twice.
pub(crate) fn find_conflict(ports: &Ports, owner: &str, wanted: &[Publish]) -> Option<Conflict> {
    for (index, want) in wanted.iter().enumerate() {
        let conflict = |port, owner| Conflict { port, protocol: want.protocol, owner };
        if let Some(port) = wanted[..index].iter().find_map(|other| want.conflict(other)) {
            return Some(conflict(port, None));
        }
        let others = ports.iter().filter(|(name, _)| *name != owner);
        for (name, published) in others {
            if let Some(port) = published.ports.iter().find_map(|other| want.conflict(other)) {
                return Some(conflict(port, Some(name.clone())));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn publish(text: &str) -> Publish {
        text.parse().unwrap()
    }

    #[test]
    fn the_short_form_is_tcp_on_every_address() {
        let expected =
            Publish { address: None, host: 8080, guest: 80, count: 1, protocol: Protocol::Tcp };
        assert_eq!(publish("8080:80"), expected);
        assert_eq!(publish("0.0.0.0:8080:80/tcp"), expected);
    }

    #[test]
    fn a_range_is_published_port_by_port() {
        let ports: Vec<_> =
            publish("127.0.0.1:8000-8002:80-82/udp").ports().map(|p| (p.host, p.guest)).collect();
        assert_eq!(ports, [(8000, 80), (8001, 81), (8002, 82)]);
        assert_eq!(publish("1-65535:1-65535").count, 65535);
    }

    #[test]
    fn what_cannot_be_published_says_why() {
        let message = |text: &str| text.parse::<Publish>().unwrap_err().to_string();
        for text in
            ["", "80", ":80", "8080:", "a:80", "1:2:3", "+8080:80", "127.0.0.1::80", "8080:-"]
        {
            assert!(message(text).ends_with(FORM), "{text}: {}", message(text));
        }
        assert!(message("8080:80/sctp").contains("must be tcp or udp"));
        assert!(message("0:80").contains("from 1 to 65535"));
        assert!(message("8080:65536").contains("from 1 to 65535"));
        assert!(message("9-8:9-8").contains("from the lower to the higher"));
        assert!(message("1-2:1-3").contains("same length"));
        assert!(message("[::1]:8080:80").contains("only IPv4"));
    }

    #[test]
    fn a_port_of_another_owner_is_a_conflict_and_ones_own_is_not() {
        let published = Published {
            address: Ipv4Addr::new(10, 107, 0, 2),
            ports: vec![publish("8000-8009:80-89"), publish("127.0.0.1:53:53/udp")],
        };
        let ports = Ports::from([("web".into(), published)]);
        let conflict = |owner, text| find_conflict(&ports, owner, &[publish(text)]);
        let web = |port, protocol| Some(Conflict { port, protocol, owner: Some("web".into()) });
        assert_eq!(conflict("db", "8005-8020:5-20"), web(8005, Protocol::Tcp));
        assert_eq!(conflict("db", "192.0.2.1:8009:80"), web(8009, Protocol::Tcp));
        assert_eq!(conflict("db", "53:53/udp"), web(53, Protocol::Udp));
        assert_eq!(conflict("web", "8005:80"), None);
        assert_eq!(conflict("db", "8010:80"), None);
        assert_eq!(conflict("db", "8005:80/udp"), None);
        assert_eq!(conflict("db", "127.0.0.2:53:53/udp"), None);
    }

    #[test]
    fn the_same_port_twice_is_a_conflict() {
        let twice = [publish("80:80"), publish("70-90:170-190")];
        let conflict = find_conflict(&Ports::new(), "web", &twice).unwrap();
        assert_eq!(conflict, Conflict { port: 80, protocol: Protocol::Tcp, owner: None });
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            address in prop::option::of(1u32..), host in 1u16.., guest in 1u16.., count in 1u16..9, udp in any::<bool>(),
        ) {
            let count = count.min(u16::MAX - host.max(guest) + 1);
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let address = address.map(Ipv4Addr::from_bits);
            let publish = Publish { address, host, guest, count, protocol };
            prop_assert_eq!(publish.to_string().parse::<Publish>().unwrap(), publish);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9:./\\[\\]a-z-]{0,24}") {
            let _ = text.parse::<Publish>().map(|publish| publish.ports().count());
        }
    }
}
