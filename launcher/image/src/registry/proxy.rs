//! Proxies from the environment, by the rules of Go's `golang.org/x/net/http/httpproxy`.

use super::url::{Origin, Url};
use std::net::IpAddr;
use ureq::http::Uri;

/// Which proxy a request takes.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Vec<Exempt>,
}

#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// Where it listens; `None`: the variable has no proxy that can be used.
    pub(super) url: Option<Url>,
    /// It speaks SOCKS 5, not HTTP.
    pub(super) socks: bool,
    /// The variable that names it.
    pub(super) variable: &'static str,
}

/// One entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
enum Exempt {
    All,
    /// Addresses that share so many bits with this one.
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    Domain {
        /// Begins with a dot.
        suffix: String,
        /// The name without that dot counts, too.
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    pub(super) fn from_environment() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    pub(super) fn new(get: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let set = names.iter().map(|name| (*name, get(name).unwrap_or_default()));
            set.into_iter().find(|(_, value)| !value.trim().is_empty())
        };
        let proxy = |names: &[&'static str]| {
            let (variable, value) = first(names)?;
            Some(Proxy::new(value.trim(), variable))
        };
        let exempt = first(&["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
        let words = exempt.split([',', ' ', '\t', '\n']);
        Self {
            http: proxy(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: proxy(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            exempt: words.filter_map(Exempt::parse).collect(),
        }
    }

    /// The proxy on the way to `uri`.
    pub(super) fn on_the_way_to(&self, uri: &Uri) -> Option<&Proxy> {
        let origin = Origin::of(uri);
        let proxy = if origin.https { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.is_exempt(&origin))
    }

    fn is_exempt(&self, origin: &Origin) -> bool {
        let host = origin.bare_host();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        host == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self.exempt.iter().any(|entry| entry.matches(host, address, origin.port))
    }
}

impl Proxy {
    fn new(value: &str, variable: &'static str) -> Self {
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let socks = matches!(scheme, "socks5" | "socks5h");
        let url = if socks {
            // SOCKS has a port of its own, and a URL of HTTP the same parts.
            let authority = rest.split('/').next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            let port = if host.rsplit(']').next().unwrap_or_default().contains(':') {
                ""
            } else {
                ":1080"
            };
            format!("http://{authority}{port}")
        } else {
            format!("{scheme}://{rest}")
        };
        Self { url: Url::parse(url.as_bytes()), socks, variable }
    }

    /// The proxy without the account in it.
    pub(super) fn name(&self) -> String {
        match &self.url {
            Some(url) if self.socks => {
                format!("proxy {}", url.origin().to_string().replacen("http", "socks5", 1))
            }
            Some(url) => format!("proxy {}", url.origin()),
            None => format!("the proxy in {}", self.variable),
        }
    }
}

impl Exempt {
    fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        if word == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = word.split_once('/') {
            let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse().ok()?);
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Self::Network(address, bits));
        }
        if let Ok(address) = word.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), None));
        }
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, Some(port.parse().ok()?))
            }
            _ => (word.as_str(), None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let itself = !host.starts_with('.');
        let suffix = if itself { format!(".{host}") } else { host.to_owned() };
        (suffix.len() > 1).then_some(Self::Domain { suffix, itself, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network(network, bits) => {
                address.is_some_and(|address| shares_bits(*network, address, *bits))
            }
            Self::Address(own, own_port) => {
                address == Some(*own) && own_port.is_none_or(|own| own == port)
            }
            Self::Domain { suffix, itself, port: own_port } => {
                let below = host.ends_with(suffix.as_str());
                (below || (*itself && host == &suffix[1..]))
                    && own_port.is_none_or(|own| own == port)
            }
        }
    }
}

fn shares_bits(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let (one, other, width) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (u128::from(one.to_bits()), u128::from(other.to_bits()), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    (one ^ other).checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &[(&str, &str)]) -> Proxies {
        let found = |name: &str| set.iter().find(|(own, _)| *own == name).map(|(_, v)| *v);
        Proxies::new(|name| found(name).map(str::to_owned))
    }

    fn way(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.on_the_way_to(&url.parse().unwrap()).map(Proxy::name)
    }

    fn avoids_proxy(no_proxy: &str, url: &str) -> bool {
        let set = [("HTTP_PROXY", "p:1"), ("HTTPS_PROXY", "p:1"), ("NO_PROXY", no_proxy)];
        way(&proxies(&set), url).is_none()
    }

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (no_proxy, url) in [
            ("corp.example", "http://corp.example"),
            ("corp.example", "https://a.b.corp.example:5000"),
            (".corp.example", "http://reg.corp.example"),
            ("*.corp.example", "http://reg.corp.example"),
            ("a,  CORP.example\t", "http://Reg.corp.example"),
            ("a corp.example", "http://reg.corp.example"),
            ("*", "http://anything"),
            ("a, *", "http://[2001:db8::1]"),
            ("reg.example:5000", "http://reg.example:5000"),
            ("reg.example:443", "https://reg.example"),
            ("reg.example:80", "http://reg.example"),
            (".example:5000", "http://reg.example:5000"),
            ("10.1.2.3", "http://10.1.2.3:5000"),
            ("10.1.2.3:5000", "http://10.1.2.3:5000"),
            ("10.0.0.0/8", "http://10.1.2.3"),
            ("0.0.0.0/0", "http://10.1.2.3"),
            ("10.1.2.3/32", "http://10.1.2.3"),
            ("2001:db8::/32", "http://[2001:db8::1]:5000"),
            ("2001:db8::1", "http://[2001:db8::1]"),
            ("[2001:db8::1]", "http://[2001:db8::1]"),
            ("[2001:db8::1]:5000", "http://[2001:db8::1]:5000"),
            ("", "http://localhost:5000"),
            ("", "http://127.9.9.9"),
            ("", "https://[::1]:5000"),
        ] {
            assert!(avoids_proxy(no_proxy, url), "{no_proxy:?} {url}");
        }
        for (no_proxy, url) in [
            ("", "http://corp.example"),
            ("corp.example", "http://notcorp.example"),
            (".corp.example", "http://corp.example"),
            ("*.corp.example", "http://corp.example"),
            ("*corp.example", "http://reg.corp.example"),
            ("reg.example:5000", "http://reg.example"),
            ("reg.example:5000", "http://reg.example:5001"),
            ("10.1.2.3:5000", "http://10.1.2.3"),
            ("10.0.0.0/8", "http://11.1.2.3"),
            ("10.0.0.0/8", "http://host-in-10.example"),
            ("10.0.0.0/33", "http://10.0.0.1"),
            ("::/0", "http://10.0.0.1"),
            (":5000", "http://reg.example:5000"),
            (",,.,", "http://reg.example"),
        ] {
            assert!(!avoids_proxy(no_proxy, url), "{no_proxy:?} {url}");
        }
    }

    #[test]
    fn the_scheme_chooses_the_proxy() {
        let both = proxies(&[("http_proxy", "http://a:1"), ("HTTPS_PROXY", "https://u:p@b:2/")]);
        assert_eq!(way(&both, "http://x").as_deref(), Some("proxy http://a:1"));
        assert_eq!(way(&both, "https://x").as_deref(), Some("proxy https://b:2"));
        assert_eq!(way(&proxies(&[("HTTP_PROXY", "a")]), "https://x"), None);
        let all = proxies(&[("ALL_PROXY", "c:3"), ("https_proxy", ""), ("HTTPS_PROXY", "d")]);
        assert_eq!(way(&all, "http://x").as_deref(), Some("proxy http://c:3"));
        assert_eq!(way(&all, "https://x").as_deref(), Some("proxy http://d"));
    }

    #[test]
    fn socks_is_a_proxy_for_both_schemes() {
        for (value, name) in [
            ("socks5://u:p@c:3", "proxy socks5://c:3"),
            ("socks5h://c", "proxy socks5://c:1080"),
            ("socks5://[::1]/", "proxy socks5://[::1]:1080"),
        ] {
            let proxies = proxies(&[("ALL_PROXY", value)]);
            assert_eq!(way(&proxies, "http://x").as_deref(), Some(name));
            assert_eq!(way(&proxies, "https://x").as_deref(), Some(name));
        }
    }

    #[test]
    fn a_value_that_is_no_known_proxy_names_its_variable() {
        let proxies = proxies(&[("ALL_PROXY", "socks4://u:p@c:3")]);
        assert_eq!(way(&proxies, "http://x").as_deref(), Some("the proxy in ALL_PROXY"));
    }
}
