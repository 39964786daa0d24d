//! Bridge, address, kernel settings and rules: checks them and creates what is missing.

use crate::error::NetworkError;
use crate::lease::Leases;
use crate::link::{Link, LinkError, Links};
use crate::network::{LEASES, Network, PORTS};
use crate::port::{know_neighbour, knows_neighbour};
use crate::settings::Settings;
use crate::state::Locked;
use crate::table::Table;
use std::fs;
use std::io;
use std::path::Path;

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// Does not exist if the kernel has no IPv6.
const IPV6: &str = "/proc/sys/net/ipv6";

impl Network {
    pub(crate) fn is_ours(&self, link: &Link) -> bool {
        link.is_bridge && link.mac == Some(self.gateway_mac())
    }

    fn localnet(&self) -> String {
        format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.settings.bridge)
    }

    /// Asks the kernel whether everything exists.
    pub(crate) fn is_up(&self) -> Result<bool, NetworkError> {
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

    pub(crate) fn set_up(&self, locked: &Locked<'_>) -> Result<(), NetworkError> {
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
        // Rules and leases are for IPv4, and IPv6 must not bypass them.
        let without_ipv6 = format!("{IPV6}/conf/{name}/disable_ipv6");
        if Path::new(IPV6).exists() {
            switch_on(&without_ipv6)?;
        }
        links.add_address(name, link.index, *subnet)?;
        switch_on(&self.localnet())?;
        // The rules come before the bridge is up.
        if !Table::open()?.is_built(&self.settings)? {
            self.build_rules(&locked.read(PORTS)?, &locked.read(LEASES)?)?;
        }
        links.bring_up(name)?;
        self.tell_neighbours(locked)?;
        switch_on(FORWARD)
    }

    /// Fills dom0's neighbour table, which Linux empties when the bridge goes down or loses its address.
    fn tell_neighbours(&self, locked: &Locked<'_>) -> Result<(), NetworkError> {
        let leases: Leases = locked.read(LEASES)?;
        for (mac, address) in leases.guests() {
            know_neighbour(self.bridge(), address, mac)?;
        }
        // Last, because `is_up` concludes from this entry that all others are present.
        let gateway = self.settings.subnet.gateway();
        Ok(know_neighbour(self.bridge(), gateway, self.gateway_mac())?)
    }
}

/// Sets a kernel setting to 1, unless it is 1.
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
