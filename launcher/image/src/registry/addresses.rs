//! Which addresses a registry can send this machine to.
//!
//! A registry names hosts of its choice: for tokens, and in redirects. They must not be this machine
//! or a host on its link, whose services trust their clients (a cloud's 169.254.169.254), unless
//! the registry itself is on this machine. The user names the registry and the admin its mirrors and
//! proxies, so these may be anywhere.

use super::{endpoint::Endpoint, proxy::Proxies};
use std::{net::IpAddr, sync::Arc};
use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

/// A registry leads where it must not.
#[derive(Debug, thiserror::Error)]
#[error("it leads to {0}, an address of this machine or of its link")]
pub(super) struct LedInside(String);

/// A proxy's variable has something else than a proxy that is known.
#[derive(Debug, thiserror::Error)]
#[error("{variable} has no proxy of HTTP or SOCKS 5")]
pub(super) struct UnusableProxy {
    pub(super) variable: &'static str,
}

/// Looks up names, those of proxies in place of what is behind them, and refuses addresses as the module says.
#[derive(Debug)]
pub(super) struct Guard {
    /// Names of hosts that may be anywhere.
    trusted: Vec<String>,
    /// The registry or a mirror is on this machine.
    local: bool,
    pub(super) proxies: Arc<Proxies>,
    names: DefaultResolver,
}

impl Guard {
    pub(super) fn new(endpoints: &[Endpoint], proxies: Arc<Proxies>) -> Self {
        let names = DefaultResolver::default();
        let mut guard = Self { trusted: Vec::new(), local: false, proxies, names };
        for endpoint in endpoints {
            guard.trusted.push(endpoint.host_name().to_owned());
            guard.local |= endpoint.loopback;
        }
        guard
    }

    fn allows(&self, host: &str, address: IpAddr) -> bool {
        let trusted = self.local || self.trusted.iter().any(|own| own == host);
        trusted || !is_inside(address)
    }
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // The proxy looks up what is behind it, and it is where the admin wants it.
        if let Some(proxy) = self.proxies.on_the_way_to(uri) {
            let unusable = UnusableProxy { variable: proxy.variable };
            let url = proxy.url.as_ref().ok_or(ureq::Error::Other(Box::new(unusable)))?;
            return self.names.resolve(url.uri(), config, timeout);
        }
        let found = self.names.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default();
        match found.iter().all(|address| self.allows(host, address.ip())) {
            true => Ok(found),
            false => Err(ureq::Error::Other(Box::new(LedInside(host.chars().take(200).collect())))),
        }
    }
}

/// Whether an address is this machine's own by its kind, or reaches the machine's link only.
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn guard(registry: &str) -> Guard {
        let endpoints = Endpoint::all(registry, &Settings::default()).unwrap();
        Guard::new(&endpoints, Arc::default())
    }

    #[test]
    fn a_registry_elsewhere_leads_neither_to_this_machine_nor_to_its_link() {
        let guard = guard("registry.example:5000");
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
        ] {
            let address = inside.parse().unwrap();
            assert!(!guard.allows("elsewhere.example", address), "{inside}");
            assert!(guard.allows("registry.example", address), "{inside} of the registry");
        }
        for outside in ["192.0.2.1", "10.0.2.2", "2001:db8::1", "fd00::1"] {
            assert!(guard.allows("elsewhere.example", outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_registry_on_this_machine_may_lead_to_its_other_ports() {
        let address = "127.0.0.1".parse().unwrap();
        assert!(guard("localhost:5000").allows("127.0.0.1", address));
    }
}
