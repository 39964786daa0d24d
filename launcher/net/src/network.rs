//! Our own network: bridge, leases and published ports, brought together.

use crate::conntrack;
use crate::dns::{Resolver, resolver};
use crate::lease::{Lease, LeaseError, Leases};
use crate::link::{Link, LinkError, Links, Route};
use crate::occupant::{self, Occupant, Unusable};
use crate::port::{forget_neighbours, know_neighbour, knows_neighbour};
use crate::publish::{Ports, Protocol, Publish, Published, find_conflict};
use crate::settings::{InterfaceName, Mac, Settings, Subnet, mac_of};
use crate::state::{Locked, StateDir, StateError};
use crate::table::{self, Table, TableError, Target};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const LEASES: &str = "leases";
const PORTS: &str = "ports";
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Why the network could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// An interface.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The nftables table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The subnet is in use.
    #[error(
        "subnet {subnet} of bridge {bridge} overlaps dom0's route {route}; set another subnet in [network] of /etc/launch/config.toml"
    )]
    Overlap {
        /// Our subnet.
        subnet: Subnet,
        /// Our bridge.
        bridge: InterfaceName,
        /// What it overlaps.
        route: Route,
    },
    /// The bridge's name belongs to something else.
    #[error(
        "interface {0} is there but is not a bridge; set another bridge in [network] of /etc/launch/config.toml"
    )]
    NotABridge(InterfaceName),
    /// The bridge was made for another subnet.
    #[error(
        "bridge {bridge} has address {found}, but the settings say {subnet}; stop all apps and remove it (ip link del {bridge}), or set the old subnet again"
    )]
    OtherSubnet {
        /// Our bridge.
        bridge: InterfaceName,
        /// The address found on it.
        found: String,
        /// Our subnet.
        subnet: Subnet,
    },
    /// A kernel setting.
    #[error("cannot write {value} to {path}")]
    Sysctl {
        /// The setting's file.
        path: String,
        /// The value.
        value: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another of our apps has the port.
    #[error("port {port}/{protocol} is taken by {owner}; choose another with -p")]
    PortOfApp {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The owner that has it.
        owner: String,
    },
    /// A process of dom0 has the port.
    #[error("port {port}/{protocol} is taken by {}; choose another with -p", describe(.occupant.as_ref()))]
    PortOfProcess {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The process, where it could be found.
        occupant: Option<Occupant>,
    },
    /// The same port is given twice.
    #[error("port {port}/{protocol} is published twice; give each -p its own port")]
    PortTwice {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
    },
    /// Dom0 does not have the address to publish on.
    #[error("cannot publish on {0}: dom0 has no such address; give one it has to -p, or none")]
    NotDom0s(Ipv4Addr),
    /// The guest's address cannot be published to.
    #[error("cannot publish ports of {0}: only guests on the launcher's own IPv4 bridge have them")]
    NotOurs(IpAddr),
    /// The port could not be tried.
    #[error("cannot try port {port}/{protocol}")]
    PortUntried {
        /// The port on dom0.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn describe(occupant: Option<&Occupant>) -> String {
    occupant.map_or_else(|| "a process in dom0".to_owned(), ToString::to_string)
}

/// Our own network.
///
/// Every method may be called by any number of processes and threads at once.
#[derive(Clone, Debug)]
pub struct Network {
    settings: Settings,
    state: StateDir,
}

impl Network {
    /// Names the network; `state_dir` holds its two files, and is made when first written to.
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

    /// The bridge's link address; it never changes, so guests can know it beforehand.
    #[must_use]
    pub fn gateway_mac(&self) -> Mac {
        mac_of(self.settings.subnet.gateway())
    }

    /// Name servers and search domains for guests.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        resolver(&self.settings)
    }

    /// Makes what is missing of bridge, address, forwarding and rules. Published ports that the
    /// rules lost (a reboot, `nft flush ruleset`) come back from the state.
    ///
    /// Where all is there it only looks: no file is written, no program is run, no lock is taken.
    ///
    /// # Errors
    /// The subnet overlaps a route of dom0, the bridge's name is taken, `nft` is missing, not root.
    pub fn ensure_up(&self) -> Result<(), NetworkError> {
        if self.is_up()? {
            return Ok(());
        }
        let locked = self.state.lock()?;
        self.set_up(&locked)
    }

    /// Chains of other firewalls that drop forwarded packets unless a rule of theirs accepts them,
    /// as `FAMILY TABLE CHAIN`: the likely cause when guests have no connection.
    ///
    /// # Errors
    /// The kernel refuses, e.g. not root.
    pub fn dropping_firewalls() -> Result<Vec<String>, NetworkError> {
        Ok(table::dropping_chains()?)
    }

    /// Removes the bridge and the rules. Leases and published ports stay noted; running apps lose
    /// their network. IP forwarding stays on, as others may rely on it by now.
    ///
    /// # Errors
    /// The kernel refuses, e.g. not root.
    pub fn take_down(&self) -> Result<(), NetworkError> {
        let _locked = self.state.lock()?;
        Table::open()?.remove()?;
        let mut links = Links::open()?;
        if links.find(self.bridge())?.is_some_and(|link| self.is_ours(&link)) {
            links.remove(self.bridge())?;
        }
        Ok(())
    }

    /// Gives `owner` an address: the one wanted, else the one it has already, else a free one.
    /// Its link address is `mac`, else one that belongs to the address. Where the bridge is up,
    /// dom0 knows them at once: whoever asks for the app before it is there waits without disturbing others.
    ///
    /// # Errors
    /// The wanted address is taken, reserved or outside; or all are taken.
    pub fn lease(
        &self,
        owner: &str,
        wanted: Option<IpAddr>,
        mac: Option<Mac>,
    ) -> Result<Lease, NetworkError> {
        let locked = self.state.lock()?;
        let mut leases: Leases = locked.read(LEASES)?;
        let (address, changed) = leases.take(self.settings.subnet, owner, wanted)?;
        if changed | leases.note_mac(owner, mac) {
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

    /// Gives `owner`'s address back; one that has none is no error.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn release(&self, owner: &str) -> Result<(), NetworkError> {
        let locked = self.state.lock()?;
        let mut leases: Leases = locked.read(LEASES)?;
        if let Some(address) = leases.owners.remove(owner) {
            // First: what is noted can be tried again.
            forget_neighbours(self.bridge(), [address])?;
            leases.macs.remove(owner);
            locked.write(LEASES, &leases)?;
        }
        Ok(())
    }

    /// Publishes exactly these ports for `owner`, whose guest has `address`. All or nothing; what
    /// the owner had published before is replaced.
    ///
    /// # Errors
    /// A port is taken by another app or by a process, or dom0 lacks the address to publish on.
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
        // Noted first: a port that is noted but not in the rules is found and cleared by its
        // owner, the other way round nobody would know of it.
        if after != before {
            locked.write(PORTS, &after)?;
        }
        let (old, new) = (of_owner(&before, owner), of_owner(&after, owner));
        let applied = self.apply(&old, &new, &after).and_then(|there| match there {
            true => Ok(()),
            false => self.set_up(&locked),
        });
        if applied.is_err() && after != before {
            locked.write(PORTS, &before)?;
        }
        applied
    }

    /// Takes back all ports of `owner`; one that has none is no error.
    ///
    /// # Errors
    /// The rules or the state cannot be changed.
    pub fn unpublish(&self, owner: &str) -> Result<(), NetworkError> {
        // Most owners publish nothing; what they see here cannot change, as only they add to it.
        if !self.published()?.contains_key(owner) {
            return Ok(());
        }
        let locked = self.state.lock()?;
        self.withdraw(&locked, |name| name != owner)
    }

    /// All owners that have published ports, and which.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn published(&self) -> Result<Ports, NetworkError> {
        Ok(self.state.read(PORTS)?)
    }

    /// Clears leases and ports of owners that are not `alive`, and returns their names.
    ///
    /// `alive` is asked while the state is locked: it must not call back into the network, and must
    /// already know owners whose app is still being made.
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
        let (kept, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
            leases.owners.into_iter().partition(|(name, _)| stays(name));
        leases.owners = kept;
        if !ended.is_empty() {
            leases.macs.retain(|name, _| stays(name));
            forget_neighbours(self.bridge(), ended.into_values())?;
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

    fn is_ours(&self, link: &Link) -> bool {
        link.is_bridge && link.mac == Some(self.gateway_mac())
    }

    fn localnet(&self) -> String {
        format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.settings.bridge)
    }

    /// Whether nothing is missing, asked from the kernel itself.
    fn is_up(&self) -> Result<bool, NetworkError> {
        let is_on = |path: &str| fs::read(path).is_ok_and(|value| value.starts_with(b"1"));
        let subnet = self.settings.subnet;
        let mut links = Links::open()?;
        let Some(link) = links.find(self.bridge())? else { return Ok(false) };
        Ok(link.is_up
            && self.is_ours(&link)
            && links.addresses(Some(link.index))?.contains(&(subnet.gateway(), subnet.prefix()))
            && knows_neighbour(&mut links, link.index, subnet.gateway())?
            && is_on(FORWARD)
            && is_on(&self.localnet())
            && Table::open()?.is_built(&self.settings)?)
    }

    fn set_up(&self, locked: &Locked<'_>) -> Result<(), NetworkError> {
        let Settings { bridge, subnet, .. } = &self.settings;
        let name = bridge.as_str();
        let mut links = Links::open()?;
        let found = links.find(name)?;
        if found.as_ref().is_some_and(|link| !link.is_bridge) {
            return Err(NetworkError::NotABridge(bridge.clone()));
        }
        let own = found.as_ref().map(|link| link.index);
        let addresses = own.map_or_else(|| Ok(Vec::new()), |own| links.addresses(Some(own)))?;
        if !addresses.contains(&(subnet.gateway(), subnet.prefix())) {
            if let Some((address, prefix)) = addresses.first() {
                let found = format!("{address}/{prefix}");
                return Err(NetworkError::OtherSubnet {
                    bridge: bridge.clone(),
                    found,
                    subnet: *subnet,
                });
            }
            if let Some(route) = links.overlapping_route(*subnet, own)? {
                return Err(NetworkError::Overlap {
                    subnet: *subnet,
                    bridge: bridge.clone(),
                    route,
                });
            }
        }
        let link = match found.filter(|link| self.is_ours(link)) {
            Some(link) => link,
            None => {
                links.make_bridge(name, self.gateway_mac())?;
                let missing = || {
                    LinkError::new(format!("find bridge {name}"), io::ErrorKind::NotFound.into())
                };
                links.find(name)?.ok_or_else(missing)?
            }
        };
        // The rules and leases are for IPv4: no other way round them is left open. A kernel without
        // IPv6 has no such setting.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        links.add_address(name, link.index, *subnet)?;
        switch_on(&self.localnet())?;
        // The rules come before the first packet can.
        if !Table::open()?.is_built(&self.settings)? {
            self.build_rules(&locked.read(PORTS)?)?;
        }
        links.bring_up(name)?;
        self.tell_neighbours(locked)?;
        switch_on(FORWARD)
    }

    /// Tells dom0 who has which address: Linux forgets all of them when the bridge goes down or loses
    /// its own address.
    fn tell_neighbours(&self, locked: &Locked<'_>) -> Result<(), NetworkError> {
        let leases: Leases = locked.read(LEASES)?;
        for (owner, address) in &leases.owners {
            let mac = leases.macs.get(owner).copied().unwrap_or_else(|| mac_of(*address));
            know_neighbour(self.bridge(), *address, mac)?;
        }
        // Last: by it `is_up` sees whether the others are still known.
        let gateway = self.settings.subnet.gateway();
        Ok(know_neighbour(self.bridge(), gateway, self.gateway_mac())?)
    }

    /// Brings the rules from some ports of an owner to others; `all` is what they hold then.
    ///
    /// Returns `false` where there are no rules to bring anywhere.
    fn apply(&self, old: &[Target], new: &[Target], all: &Ports) -> Result<bool, NetworkError> {
        let mut table = Table::open()?;
        if !table.is_built(&self.settings)? {
            return Ok(false);
        }
        if table.change(old, new)? {
            forget_flows(new)?;
        } else {
            self.build_rules(all)?;
        }
        Ok(true)
    }

    fn build_rules(&self, ports: &Ports) -> Result<(), NetworkError> {
        let targets = table::targets(ports);
        table::build(&self.settings, &targets)?;
        forget_flows(&targets)
    }

    /// Takes back the ports of all owners but those that `stays` names.
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
        self.apply(&table::targets(&gone), &[], &after)?;
        Ok(locked.write(PORTS, &after)?)
    }
}

/// Makes running UDP flows to these ports follow the rules as they are now.
fn forget_flows(targets: &[Target]) -> Result<(), NetworkError> {
    if targets.iter().any(|(_, port)| port.protocol == Protocol::Udp) {
        let own = Links::open()?.addresses(None)?.into_iter().map(|(address, _)| address);
        // Most senders pause for long enough anyway, and a kernel may lack this interface.
        let _ = conntrack::forget(targets, &own.collect::<Vec<_>>());
    }
    Ok(())
}

fn of_owner(ports: &Ports, owner: &str) -> Vec<Target> {
    let published = ports.get(owner).cloned();
    table::targets(&published.map(|published| (owner.to_owned(), published)).into_iter().collect())
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

/// Sets a kernel switch to 1, unless it is.
fn switch_on(path: &str) -> Result<(), NetworkError> {
    if fs::read(path).is_ok_and(|value| value.starts_with(b"1")) {
        return Ok(());
    }
    fs::write(path, "1").map_err(|source| NetworkError::Sysctl {
        path: path.to_owned(),
        value: "1",
        source,
    })
}
