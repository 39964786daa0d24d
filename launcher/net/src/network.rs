//! `launch`'s own network: bridge, leases and published ports together.

use crate::conntrack;
use crate::dns::{Resolver, resolver};
use crate::error::NetworkError;
use crate::lease::{Guest, Lease, Leases};
use crate::link::Links;
use crate::occupant::{self, Unusable};
use crate::port::{forget_neighbours, know_neighbour};
use crate::publish::{Ports, Protocol, Publish, Published, Target, find_conflict, targets};
use crate::settings::{Settings, Subnet, mac_of};
use crate::state::{Locked, StateDir};
use crate::table::{self, Table};
use contract::Mac;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

pub(crate) const LEASES: &str = "leases";
pub(crate) const PORTS: &str = "ports";
/// `launch`'s own network.
///
/// Any number of processes and threads may call any method at once.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) settings: Settings,
    pub(crate) state: StateDir,
}

impl Network {
    /// Describes the network. `state_dir` holds its two files, and is created when first written to.
    #[must_use]
    pub fn open(settings: &Settings, state_dir: impl AsRef<Path>) -> Self {
        Self { settings: settings.clone(), state: StateDir::new(state_dir.as_ref()) }
    }

    /// The bridge's name.
    #[must_use]
    pub fn bridge(&self) -> &str {
        self.settings.bridge.as_str()
    }

    /// The subnet.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.settings.subnet
    }

    /// The bridge's link address. It never changes, so guests can know it beforehand.
    #[must_use]
    pub fn gateway_mac(&self) -> Mac {
        mac_of(self.settings.subnet.gateway())
    }

    /// Name servers and search domains for guests.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        resolver(&self.settings)
    }

    /// Creates what is missing of bridge, address, forwarding and rules. If the rules were lost (by a reboot or
    /// `nft flush ruleset`), publishes all recorded ports again.
    ///
    /// If nothing is missing, only checks: writes no file, runs no program, takes no lock.
    ///
    /// # Errors
    /// The subnet overlaps a route of dom0, the bridge's name is taken, `nft` is missing, or this process is not root.
    pub fn ensure_up(&self) -> Result<(), NetworkError> {
        if self.is_up()? {
            return Ok(());
        }
        let locked = self.state.lock()?;
        self.set_up(&locked)
    }

    /// The chains of other firewalls, as `FAMILY TABLE CHAIN`, that drop forwarded packets unless one of their rules
    /// accepts them. If guests have no connection, such a chain is the likely cause.
    ///
    /// # Errors
    /// The kernel refuses, e.g. because this process is not root.
    pub fn dropping_firewalls() -> Result<Vec<String>, NetworkError> {
        Ok(table::dropping_chains()?)
    }

    /// Removes the bridge and the rules, so that running apps lose their network. Keeps the records of leases and
    /// published ports. Leaves IP forwarding on, because other programs may need it by now.
    ///
    /// # Errors
    /// The kernel refuses, e.g. because this process is not root.
    pub fn take_down(&self) -> Result<(), NetworkError> {
        let _locked = self.state.lock()?;
        Table::open()?.remove()?;
        let mut links = Links::open()?;
        if links.find(self.bridge())?.is_some_and(|link| self.is_ours(&link)) {
            links.remove(self.bridge())?;
        }
        Ok(())
    }

    /// Gives `owner` an address: the requested one, or else the one that it has, or else a free one. The link address
    /// is
    /// `mac`, or else the one that belongs to the address. If the bridge is up, tells dom0 both addresses at once, so
    /// that packets for an app that is still starting are not broadcast.
    ///
    /// # Errors
    /// The requested address is taken, reserved or outside the subnet; or all addresses are taken.
    pub fn lease(
        &self,
        owner: &str,
        wanted: Option<IpAddr>,
        mac: Option<Mac>,
    ) -> Result<Lease, NetworkError> {
        let locked = self.state.lock()?;
        let mut leases: Leases = locked.read(LEASES)?;
        let before = leases.guest(owner);
        let (address, changed) = leases.take(self.settings.subnet, owner, wanted)?;
        if changed | leases.note_mac(owner, mac) {
            // The rules first, so that the owner of a recorded lease always has its rule.
            self.change_guests(before, leases.guest(owner), &leases, &locked)?;
            locked.write(LEASES, &leases)?;
        }
        let lease = self.lease_at(address);
        let lease = Lease { mac: mac.unwrap_or(lease.mac), ..lease };
        know_neighbour(self.bridge(), address, lease.mac)?;
        Ok(lease)
    }

    /// All owners and their addresses.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn leases(&self) -> Result<BTreeMap<String, Ipv4Addr>, NetworkError> {
        Ok(self.state.read::<Leases>(LEASES)?.owners)
    }

    /// Releases the address of `owner`. It is no error if `owner` has none.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn release(&self, owner: &str) -> Result<(), NetworkError> {
        let locked = self.state.lock()?;
        let mut leases: Leases = locked.read(LEASES)?;
        if let Some(guest) = leases.guest(owner) {
            leases.owners.remove(owner);
            leases.macs.remove(owner);
            // The rules first, because a release can be repeated while the lease is recorded.
            self.change_guests(Some(guest), None, &leases, &locked)?;
            forget_neighbours(self.bridge(), [guest.1])?;
            locked.write(LEASES, &leases)?;
        }
        Ok(())
    }

    /// Publishes exactly these ports, or none, for `owner`, whose guest has `address`. Replaces the ports that the
    /// owner had published before.
    ///
    /// # Errors
    /// Another app or a process has a port, or dom0 lacks the address to publish on.
    pub fn publish(
        &self,
        owner: &str,
        address: IpAddr,
        wanted: &[Publish],
    ) -> Result<(), NetworkError> {
        if wanted.is_empty() {
            return self.unpublish(owner);
        }
        let guest = match address {
            IpAddr::V4(guest) if self.settings.subnet.contains(guest) => guest,
            _ => return Err(NetworkError::NotOurs(address)),
        };
        let locked = self.state.lock()?;
        let before: Ports = locked.read(PORTS)?;
        check_ports(&before, owner, wanted)?;
        let published = Published { address: guest, ports: wanted.to_vec() };
        let mut after = before.clone();
        after.insert(owner.to_owned(), published);
        // The record first: a recorded port that is missing in the rules is found and cleared by its owner, whereas an
        // unrecorded port in the rules would stay.
        if after != before {
            locked.write(PORTS, &after)?;
        }
        let (old, new) = (of_owner(&before, owner), of_owner(&after, owner));
        let applied = self.apply(&old, &new, &after, &locked).and_then(|there| match there {
            true => Ok(()),
            false => self.set_up(&locked),
        });
        if applied.is_err() && after != before {
            locked.write(PORTS, &before)?;
        }
        applied
    }

    /// Withdraws all ports of `owner`. It is no error if `owner` has none.
    ///
    /// # Errors
    /// The rules or the state cannot be changed.
    pub fn unpublish(&self, owner: &str) -> Result<(), NetworkError> {
        // Usually there are none. No lock is needed to check, because only an owner adds its own ports.
        if !self.published()?.contains_key(owner) {
            return Ok(());
        }
        let locked = self.state.lock()?;
        self.withdraw(&locked, |name| name != owner)
    }

    /// All owners that have published ports, with these ports.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn published(&self) -> Result<Ports, NetworkError> {
        Ok(self.state.read(PORTS)?)
    }

    /// Removes leases and ports of owners that are not `alive`, and returns the owners' names.
    ///
    /// Calls `alive` while the state is locked, so `alive` must not call the network. It must return true also for
    /// owners whose app is still being created.
    ///
    /// # Errors
    /// The rules or the state cannot be changed.
    pub fn retain(&self, alive: impl Fn(&str) -> bool) -> Result<Vec<String>, NetworkError> {
        let locked = self.state.lock()?;
        let mut leases: Leases = locked.read(LEASES)?;
        let ports: Ports = locked.read(PORTS)?;
        let mut gone: Vec<String> =
            leases.owners.keys().chain(ports.keys()).filter(|name| !alive(name)).cloned().collect();
        gone.sort_unstable();
        gone.dedup();
        let stays = |name: &str| gone.binary_search_by(|other| other.as_str().cmp(name)).is_err();
        self.withdraw(&locked, stays)?;
        let ended: Vec<Guest> = gone.iter().filter_map(|name| leases.guest(name)).collect();
        if !ended.is_empty() {
            leases.owners.retain(|name, _| stays(name));
            leases.macs.retain(|name, _| stays(name));
            self.change_guests(ended.iter().copied(), None, &leases, &locked)?;
            forget_neighbours(self.bridge(), ended.into_iter().map(|(_, address)| address))?;
            locked.write(LEASES, &leases)?;
        }
        Ok(gone)
    }

    fn lease_at(&self, address: Ipv4Addr) -> Lease {
        let subnet = self.settings.subnet;
        Lease {
            address: address.into(),
            prefix: subnet.prefix(),
            gateway: Some(subnet.gateway().into()),
            mac: mac_of(address),
        }
    }

    /// Changes the rules from the ports in `old` to those in `new`; `all` is the complete new list.
    ///
    /// Returns `false` if the rules do not exist.
    fn apply(
        &self,
        old: &[Target],
        new: &[Target],
        all: &Ports,
        locked: &Locked<'_>,
    ) -> Result<bool, NetworkError> {
        let mut table = Table::open()?;
        if !table.is_built(&self.settings)? {
            return Ok(false);
        }
        if table.change(old, new)? {
            forget_flows(new)?;
        } else {
            self.build_rules(all, &locked.read(LEASES)?)?;
        }
        Ok(true)
    }

    /// Changes the rules from the guests in `old` to the one in `new`; `all` is the complete new list. If the rules do
    /// not exist, does nothing: they are later built from the recorded leases.
    fn change_guests(
        &self,
        old: impl IntoIterator<Item = Guest>,
        new: Option<Guest>,
        all: &Leases,
        locked: &Locked<'_>,
    ) -> Result<(), NetworkError> {
        let (old, new): (Vec<_>, Vec<_>) = (old.into_iter().collect(), new.into_iter().collect());
        match Table::open()?.change_guests(&old, &new)? || !self.has_rules()? {
            true => Ok(()),
            false => self.build_rules(&locked.read(PORTS)?, all),
        }
    }

    fn has_rules(&self) -> Result<bool, NetworkError> {
        Ok(Table::open()?.is_built(&self.settings)?)
    }

    pub(crate) fn build_rules(&self, ports: &Ports, leases: &Leases) -> Result<(), NetworkError> {
        let targets = targets(ports);
        table::build(&self.settings, &targets, &leases.guests())?;
        forget_flows(&targets)
    }

    /// Withdraws the ports of all owners except those for which `stays` is true.
    fn withdraw(
        &self,
        locked: &Locked<'_>,
        stays: impl Fn(&str) -> bool,
    ) -> Result<(), NetworkError> {
        let before: Ports = locked.read(PORTS)?;
        let (after, gone): (Ports, Ports) = before.into_iter().partition(|(name, _)| stays(name));
        if gone.is_empty() {
            return Ok(());
        }
        // Also from rules that were built for other settings, whose ports this process may not know.
        if !Table::open()?.change(&targets(&gone), &[])? && self.has_rules()? {
            self.build_rules(&after, &locked.read(LEASES)?)?;
        }
        Ok(locked.write(PORTS, &after)?)
    }
}

/// Makes existing UDP flows to these ports follow the current rules.
fn forget_flows(targets: &[Target]) -> Result<(), NetworkError> {
    if targets.iter().any(|(_, port)| port.protocol == Protocol::Udp) {
        let own = Links::open()?.addresses(None)?.into_iter().map(|(address, _)| address);
        // Ignores a failure: most senders pause long enough anyway, and a kernel may lack this interface.
        let _ = conntrack::forget(targets, &own.collect::<Vec<_>>());
    }
    Ok(())
}

fn of_owner(ports: &Ports, owner: &str) -> Vec<Target> {
    let published = ports.get(owner).cloned();
    targets(&published.map(|published| (owner.to_owned(), published)).into_iter().collect())
}

fn check_ports(ports: &Ports, owner: &str, wanted: &[Publish]) -> Result<(), NetworkError> {
    if let Some(conflict) = find_conflict(ports, owner, wanted) {
        let (port, protocol) = (conflict.port, conflict.protocol);
        return Err(match conflict.owner {
            Some(owner) => NetworkError::PortOfApp { port, protocol, owner },
            None => NetworkError::PortTwice { port, protocol },
        });
    }
    for port in wanted.iter().flat_map(Publish::ports) {
        let protocol = port.protocol;
        occupant::check(&port).map_err(|unusable| match unusable {
            Unusable::Taken(occupant) => {
                NetworkError::PortOfProcess { port: port.host, protocol, occupant }
            }
            Unusable::NoSuchAddress(address) => NetworkError::NotDom0s(address),
            Unusable::Other(source) => {
                NetworkError::PortUntried { port: port.host, protocol, source }
            }
        })?;
    }
    Ok(())
}
