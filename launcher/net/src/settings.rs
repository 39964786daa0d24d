//! The section `[network]` of the settings, and the types that keep its values valid.

use contract::Mac;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Section `[network]` of `/etc/launch/config.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The bridge that `launch` creates.
    pub bridge: InterfaceName,
    /// The bridge's subnet; the first address is the gateway (dom0), the others are for guests.
    pub subnet: Subnet,
    /// Name servers for guests; if empty, those that dom0 itself uses.
    pub dns: Vec<Ipv4Addr>,
    /// Whether guests may connect to dom0's own services, on any of its addresses. If not, they can still reach
    /// published ports and the name servers in `dns`.
    pub apps_reach_dom0: bool,
    /// Whether guests may connect to each other without published ports (Docker's `icc`).
    pub apps_reach_each_other: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bridge: InterfaceName("launch0".into()),
            subnet: Subnet { network: Ipv4Addr::new(10, 107, 0, 0), prefix: 16 },
            dns: Vec::new(),
            apps_reach_dom0: true,
            apps_reach_each_other: true,
        }
    }
}

/// The name of a network interface: 1 to 15 of `A-Z a-z 0-9 . _ -`, not `.` or `..`.
///
/// The kernel allows more characters. These ones need no quotes in an nftables rule, an xl config or a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// The error for text that is not the name of a network interface.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an interface name: write 1 to 15 letters, digits, `.`, `_` or `-`")]
pub struct InterfaceNameError(String);

impl InterfaceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InterfaceNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let length = (1..=15).contains(&text.len());
        if length && text.chars().all(plain) && text != "." && text != ".." {
            Ok(Self(text))
        } else {
            Err(InterfaceNameError(text))
        }
    }
}

impl FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An IPv4 subnet with room for a gateway and at least one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

/// The error for text that is not a usable subnet.
#[derive(Debug, thiserror::Error)]
pub enum SubnetError {
    /// The text does not have the form `A.B.C.D/PREFIX`.
    #[error("`{0}` is not a subnet: write it as 10.107.0.0/16")]
    Form(String),
    /// The subnet is too small, or so large that link addresses would repeat.
    #[error("subnet {0} has a prefix of /{1}: it must be from /8 to /30")]
    Prefix(String, u8),
    /// Bits are set below the prefix.
    #[error("subnet {0} has host bits set: did you mean {1}?")]
    HostBits(String, Subnet),
    /// The subnet is loopback, multicast or reserved.
    #[error(
        "subnet {0} cannot hold guests: loopback, multicast and reserved addresses are not routed"
    )]
    NotUnicast(String),
}

impl Subnet {
    /// Dom0's own address, the first of the subnet.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 1)
    }

    /// The network (lowest) address.
    #[must_use]
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// The broadcast (highest) address.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` is in the subnet.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Whether the subnet shares an address with `network/prefix`.
    #[must_use]
    pub fn overlaps(&self, network: Ipv4Addr, prefix: u8) -> bool {
        let common = mask(self.prefix.min(prefix));
        self.network.to_bits() & common == network.to_bits() & common
    }

    /// The addresses for guests.
    pub(crate) fn guests(&self) -> std::ops::RangeInclusive<u32> {
        self.network.to_bits() + 2..=self.broadcast().to_bits() - 1
    }
}

/// The bits that `prefix` covers.
pub(crate) fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// The link address that belongs to an address of `launch`'s own subnet.
///
/// It consists of Xen's OUI and the address's last three bytes. So within a /8 or smaller no two are equal, and an
/// address always has the same link address, so that no neighbour table becomes outdated.
pub(crate) fn mac_of(address: Ipv4Addr) -> Mac {
    let [_, b, c, d] = address.octets();
    Mac::of_guest([b, c, d])
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || SubnetError::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(form)?;
        if !(8..=30).contains(&prefix) {
            return Err(SubnetError::Prefix(text.to_owned(), prefix));
        }
        let network = Ipv4Addr::from_bits(address.to_bits() & mask(prefix));
        let subnet = Self { network, prefix };
        if matches!(network.octets()[0], 0 | 127 | 224..) {
            return Err(SubnetError::NotUnicast(text.to_owned()));
        }
        if network != address {
            return Err(SubnetError::HostBits(text.to_owned(), subnet));
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_subnet_gives_dom0_the_first_address() {
        let subnet = Settings::default().subnet;
        assert_eq!(subnet, "10.107.0.0/16".parse().unwrap());
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 107, 0, 1));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(10, 107, 255, 255));
    }

    #[test]
    fn a_subnet_that_cannot_work_is_refused_with_the_reason() {
        let message = |text: &str| text.parse::<Subnet>().unwrap_err().to_string();
        assert!(message("10.107.0.0").contains("write it as"));
        assert!(message("10.107.0.0/33").contains("write it as"));
        assert!(message("10.107.0.0/31").contains("from /8 to /30"));
        assert!(message("0.0.0.0/0").contains("from /8 to /30"));
        assert!(message("10.107.0.5/24").contains("did you mean 10.107.0.0/24?"));
        assert!(message("127.0.0.0/8").contains("loopback"));
        assert!(message("224.0.0.0/8").contains("multicast"));
    }

    #[test]
    fn a_bridge_name_that_could_break_out_of_a_rule_is_refused() {
        for bad in ["", ".", "..", "a b", "a\"b", "a/b", "a;b", "sixteen-letters-"] {
            let error = bad.parse::<InterfaceName>().unwrap_err().to_string();
            assert!(error.contains("is not an interface name"), "{error}");
        }
        "vif12.0".parse::<InterfaceName>().unwrap();
    }

    proptest! {
        #[test]
        fn overlap_is_what_comparing_the_end_points_says(
            a in any::<u32>(), p in 8u8..=30, b in any::<u32>(), q in 0u8..=32,
        ) {
            // Close together, because otherwise they would hardly ever overlap.
            let b = (a & 0xffff_0000) | (b & 0xffff);
            let subnet = Subnet { network: Ipv4Addr::from_bits(a & mask(p)), prefix: p };
            let other = (b & mask(q), b & mask(q) | !mask(q));
            let ends = (subnet.network.to_bits(), subnet.broadcast().to_bits());
            let expected = ends.0 <= other.1 && other.0 <= ends.1;
            prop_assert_eq!(subnet.overlaps(Ipv4Addr::from_bits(b & mask(q)), q), expected);
        }

        #[test]
        fn no_two_addresses_of_a_subnet_share_a_link_address(
            p in 8u8..=30, a in any::<u32>(), b in any::<u32>(),
        ) {
            let base = u32::from(Ipv4Addr::new(10, 0, 0, 0)) & mask(p);
            let (a, b) = (base | a & !mask(p), base | b & !mask(p));
            prop_assert_eq!(a == b, mac_of(Ipv4Addr::from_bits(a)) == mac_of(Ipv4Addr::from_bits(b)));
        }
    }
}
