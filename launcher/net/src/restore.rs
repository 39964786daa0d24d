//! Rebuilds damaged state files.

use crate::error::NetworkError;
use crate::lease::Leases;
use crate::network::{LEASES, Network, PORTS};
use crate::publish::{Ports, Publish, Published, find_conflict};
use crate::table::Table;
use contract::Mac;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The part of the network that an owner has, according to the owner's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The owner's address.
    pub address: Ipv4Addr,
    /// The link address that the owner requested, if any.
    pub mac: Option<Mac>,
    /// The ports that the owner has published.
    pub ports: Vec<Publish>,
}

impl Holding {
    /// An address without published ports.
    #[must_use]
    pub fn at(address: Ipv4Addr) -> Self {
        Self { address, mac: None, ports: Vec::new() }
    }
}

impl Network {
    /// Rebuilds damaged state files, and the rules with them, from `holdings`. Leaves readable files unchanged. Returns
    /// the paths of the rebuilt files.
    ///
    /// # Errors
    /// The state cannot be written, or the rules cannot be changed.
    pub fn restore(
        &self,
        holdings: &BTreeMap<String, Holding>,
    ) -> Result<Vec<PathBuf>, NetworkError> {
        let locked = self.state.lock()?;
        let mut restored = Vec::new();
        if let Some(path) = locked.damaged::<Leases>(LEASES)? {
            let mut leases = Leases::default();
            for (owner, Holding { address, mac, .. }) in holdings {
                // If two owners claim one address, one of the records is outdated.
                if leases.take(self.settings.subnet, owner, Some((*address).into())).is_ok() {
                    leases.note_mac(owner, *mac);
                }
            }
            locked.write(LEASES, &leases)?;
            restored.push(path);
        }
        if let Some(path) = locked.damaged::<Ports>(PORTS)? {
            let mut ports = Ports::default();
            for (owner, Holding { address, ports: wanted, .. }) in holdings {
                if !wanted.is_empty() && find_conflict(&ports, owner, wanted).is_none() {
                    let published = Published { address: *address, ports: wanted.clone() };
                    ports.insert(owner.clone(), published);
                }
            }
            locked.write(PORTS, &ports)?;
            restored.push(path);
        }
        if !restored.is_empty() && Table::open()?.is_built(&self.settings)? {
            self.build_rules(&locked.read(PORTS)?, &locked.read(LEASES)?)?;
        }
        Ok(restored)
    }
}
