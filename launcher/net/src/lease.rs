//! Leases: which owner has which address of the subnet.

use crate::settings::{Subnet, mac_of};
use contract::Mac;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// The addresses that a guest needs to use the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The guest's address.
    pub address: IpAddr,
    /// Prefix length of the subnet, in bits.
    pub prefix: u8,
    /// The gateway to everything outside the subnet; always present on `launch`'s own bridge.
    pub gateway: Option<IpAddr>,
    /// The link address that the guest's interface must have.
    pub mac: Mac,
}

/// Why an address cannot be leased.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another owner has the address.
    #[error("address {address} is taken by {owner}; choose another with --ip")]
    Taken {
        /// The requested address.
        address: IpAddr,
        /// The owner of the address.
        owner: String,
    },
    /// The address is not in the subnet.
    #[error("address {address} is outside subnet {subnet}; choose one inside with --ip")]
    Outside {
        /// The requested address.
        address: IpAddr,
        /// The subnet.
        subnet: Subnet,
    },
    /// The address is the network address, the broadcast address or the gateway.
    #[error("address {address} is the {role} of subnet {subnet}; choose another with --ip")]
    Reserved {
        /// The requested address.
        address: IpAddr,
        /// The address's role in the subnet.
        role: &'static str,
        /// The subnet.
        subnet: Subnet,
    },
    /// All addresses are taken.
    #[error(
        "all {count} addresses of subnet {subnet} are taken; remove apps, or set a larger subnet in [network] of /etc/launch/config.toml"
    )]
    Exhausted {
        /// The number of addresses for guests.
        count: usize,
        /// The subnet.
        subnet: Subnet,
    },
}

/// The lease file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leases {
    /// The address given last. The search continues after it, so that a released address stays unused as long as
    /// possible and its last owner's connections and caches expire meanwhile.
    last: Option<Ipv4Addr>,
    pub(crate) owners: BTreeMap<String, Ipv4Addr>,
    /// The link addresses of owners that requested one other than that of their IP address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) macs: BTreeMap<String, Mac>,
}

/// A guest's link address and IP address.
pub(crate) type Guest = (Mac, Ipv4Addr);

impl Leases {
    /// The addresses of `owner`, if it has a lease.
    pub(crate) fn guest(&self, owner: &str) -> Option<Guest> {
        let address = *self.owners.get(owner)?;
        Some((self.macs.get(owner).copied().unwrap_or_else(|| mac_of(address)), address))
    }

    /// The addresses of all owners.
    pub(crate) fn guests(&self) -> Vec<Guest> {
        self.owners.keys().filter_map(|owner| self.guest(owner)).collect()
    }

    /// Gives `owner` the requested address, or else the one it has, or else the next free one.
    ///
    /// Returns the address, and whether the leases changed.
    pub(crate) fn take(
        &mut self,
        subnet: Subnet,
        owner: &str,
        wanted: Option<IpAddr>,
    ) -> Result<(Ipv4Addr, bool), LeaseError> {
        let held = self.owners.get(owner).copied();
        let address = match (wanted, held) {
            (Some(wanted), _) => self.check_wanted(subnet, owner, wanted)?,
            (None, Some(held)) if subnet.guests().contains(&held.to_bits()) => held,
            (None, _) => self.next_free(subnet)?,
        };
        if held == Some(address) {
            return Ok((address, false));
        }
        if wanted.is_none() {
            self.last = Some(address);
        }
        self.owners.insert(owner.to_owned(), address);
        Ok((address, true))
    }

    /// Records the link address that an owner requested. Returns whether the leases changed.
    pub(crate) fn note_mac(&mut self, owner: &str, mac: Option<Mac>) -> bool {
        let before = match mac {
            Some(mac) => self.macs.insert(owner.to_owned(), mac),
            None => self.macs.remove(owner),
        };
        before != mac
    }

    fn check_wanted(
        &self,
        subnet: Subnet,
        owner: &str,
        address: IpAddr,
    ) -> Result<Ipv4Addr, LeaseError> {
        let wanted = match address {
            IpAddr::V4(wanted) if subnet.contains(wanted) => wanted,
            _ => return Err(LeaseError::Outside { address, subnet }),
        };
        let reserved = |role| Err(LeaseError::Reserved { address, role, subnet });
        if wanted == subnet.network() {
            return reserved("network address");
        } else if wanted == subnet.broadcast() {
            return reserved("broadcast address");
        } else if wanted == subnet.gateway() {
            return reserved("gateway");
        }
        let taken = |(other, held): &(&String, &Ipv4Addr)| **held == wanted && *other != owner;
        match self.owners.iter().find(taken) {
            Some((other, _)) => Err(LeaseError::Taken { address, owner: other.clone() }),
            None => Ok(wanted),
        }
    }

    fn next_free(&self, subnet: Subnet) -> Result<Ipv4Addr, LeaseError> {
        let taken: HashSet<u32> = self.owners.values().map(|address| address.to_bits()).collect();
        let range = subnet.guests();
        let (first, last) = (*range.start(), *range.end());
        let from = self.last.map(Ipv4Addr::to_bits).filter(|last| range.contains(last));
        let from = from.map_or(first, |last| last + 1);
        (from..=last)
            .chain(first..from)
            .find(|bits| !taken.contains(bits))
            .map(Ipv4Addr::from_bits)
            .ok_or(LeaseError::Exhausted { count: range.count(), subnet })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_owner_keeps_its_address() {
        let mut leases = Leases::default();
        let first = leases.take(subnet("10.107.0.0/16"), "web", None).unwrap();
        assert_eq!(first, (Ipv4Addr::new(10, 107, 0, 2), true));
        let again = leases.take(subnet("10.107.0.0/16"), "web", None).unwrap();
        assert_eq!(again, (Ipv4Addr::new(10, 107, 0, 2), false));
    }

    #[test]
    fn a_released_address_rests_until_the_subnet_has_been_gone_through() {
        let mut leases = Leases::default();
        let small = subnet("10.107.0.0/29");
        let mut given = Vec::new();
        for round in 0..6 {
            let owner = format!("owner{round}");
            given.push(leases.take(small, &owner, None).unwrap().0.octets()[3]);
            leases.owners.remove(&owner);
        }
        assert_eq!(given, [2, 3, 4, 5, 6, 2]);
    }

    #[test]
    fn a_wanted_address_is_refused_with_the_reason() {
        let mut leases = Leases::default();
        let small = subnet("10.107.0.0/24");
        leases.take(small, "web", Some(ip("10.107.0.9"))).unwrap();
        let mut refusal =
            |address: &str| leases.take(small, "db", Some(ip(address))).unwrap_err().to_string();
        assert_eq!(
            refusal("10.107.0.9"),
            "address 10.107.0.9 is taken by web; choose another with --ip"
        );
        assert!(refusal("10.107.1.9").contains("outside subnet 10.107.0.0/24"));
        assert!(refusal("fd00::1").contains("outside subnet 10.107.0.0/24"));
        assert!(refusal("10.107.0.0").contains("is the network address of"));
        assert!(refusal("10.107.0.1").contains("is the gateway of"));
        assert!(refusal("10.107.0.255").contains("is the broadcast address of"));
        // The owner may request its own address again.
        leases.take(small, "web", Some(ip("10.107.0.9"))).unwrap();
    }

    #[test]
    fn a_full_subnet_says_so() {
        let mut leases = Leases::default();
        for owner in ["a", "b", "c", "d", "e"] {
            leases.take(subnet("10.107.0.0/29"), owner, None).unwrap();
        }
        let error = leases.take(subnet("10.107.0.0/29"), "f", None).unwrap_err();
        assert!(error.to_string().starts_with("all 5 addresses of subnet 10.107.0.0/29 are taken"));
    }

    #[test]
    fn an_address_of_a_subnet_no_longer_set_is_exchanged() {
        let mut leases = Leases::default();
        leases.take(subnet("10.107.0.0/24"), "web", None).unwrap();
        let (address, changed) = leases.take(subnet("10.108.0.0/24"), "web", None).unwrap();
        assert_eq!((address, changed), (Ipv4Addr::new(10, 108, 0, 2), true));
    }

    proptest! {
        #[test]
        fn no_address_is_ever_held_twice(
            steps in prop::collection::vec((0u8..12, any::<bool>(), prop::option::of(0u8..18)), 1..80),
        ) {
            let small = subnet("10.107.0.0/28");
            let mut leases = Leases::default();
            for (owner, take, wanted) in steps {
                let owner = format!("owner{owner}");
                if take {
                    let wanted = wanted.map(|last| Ipv4Addr::new(10, 107, 0, last).into());
                    if let Ok((address, _)) = leases.take(small, &owner, wanted) {
                        prop_assert!(small.guests().contains(&address.to_bits()));
                        prop_assert_eq!(leases.owners.get(&owner), Some(&address));
                        prop_assert!(wanted.is_none_or(|wanted| wanted == IpAddr::V4(address)));
                    }
                } else {
                    leases.owners.remove(&owner);
                }
                let distinct: HashSet<_> = leases.owners.values().collect();
                prop_assert_eq!(distinct.len(), leases.owners.len());
            }
        }
    }
}
