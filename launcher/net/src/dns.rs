//! Chooses the name servers and search domains of guests.

use crate::settings::Settings;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// The values for a guest's `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers, at most three, because the C library reads no more.
    pub servers: Vec<IpAddr>,
    /// Search domains, at most six.
    pub search: Vec<String>,
}

/// The name servers and search domains for guests on `launch`'s own bridge.
///
/// Uses the servers of the settings if there are any, else those of dom0. Leaves out servers that a guest cannot reach:
/// those on dom0's loopback (a local cache) and those with an IPv6 address. If the local cache is systemd-resolved,
/// uses the servers behind it. It is no error if no server is left, because a guest may need no names.
#[must_use]
pub fn resolver(settings: &Settings) -> Resolver {
    read(settings, Path::new("/"))
}

fn read(settings: &Settings, root: &Path) -> Resolver {
    let parse = |path: &str| parse(&fs::read_to_string(root.join(path)).unwrap_or_default());
    let mut found = parse("etc/resolv.conf");
    if found.servers.is_empty() {
        let behind = parse("run/systemd/resolve/resolv.conf");
        found.servers = behind.servers;
        if found.search.is_empty() {
            found.search = behind.search;
        }
    }
    if !settings.dns.is_empty() {
        found.servers = settings.dns.iter().copied().map(IpAddr::V4).collect();
    }
    found.servers.truncate(3);
    found.search.truncate(6);
    found
}

/// Reads `resolv.conf(5)`, and keeps only servers that a guest can reach.
fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let server = words.next().and_then(|word| word.parse::<Ipv4Addr>().ok());
                resolver.servers.extend(
                    server.filter(|s| !s.is_loopback() && !s.is_unspecified()).map(IpAddr::V4),
                );
            }
            // The last of several lines counts.
            Some("search" | "domain") => {
                resolver.search =
                    words.filter(|word| *word != ".").map(ToOwned::to_owned).collect();
            }
            _ => {}
        }
    }
    resolver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_files(files: &[(&str, &str)], settings: &Settings) -> Resolver {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(settings, root.path())
    }

    fn servers(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    const RESOLVED: (&str, &str) = (
        "run/systemd/resolve/resolv.conf",
        "nameserver 192.0.2.53\nnameserver fe80::1%2\nsearch example.org\n",
    );

    #[test]
    fn dom0s_own_servers_are_taken() {
        let text = "# made by hand\nsearch a.example b.example\nnameserver 192.0.2.1\nnameserver\t192.0.2.2 # two\noptions ndots:2\n";
        let found = with_files(&[("etc/resolv.conf", text)], &Settings::default());
        assert_eq!(found.servers, servers(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(found.search, ["a.example", "b.example"]);
    }

    #[test]
    fn behind_a_local_cache_its_own_servers_are_taken() {
        let stub = ("etc/resolv.conf", "nameserver 127.0.0.53\nnameserver ::1\nsearch .\n");
        let found = with_files(&[stub, RESOLVED], &Settings::default());
        assert_eq!(found.servers, servers(&["192.0.2.53"]));
        assert_eq!(found.search, ["example.org"]);
        assert!(with_files(&[stub], &Settings::default()).servers.is_empty());
    }

    #[test]
    fn servers_in_the_settings_win() {
        let settings = Settings { dns: vec![Ipv4Addr::new(192, 0, 2, 9)], ..Settings::default() };
        let text = "nameserver 192.0.2.1\nsearch a.example\n";
        let found = with_files(&[("etc/resolv.conf", text)], &settings);
        assert_eq!(found.servers, servers(&["192.0.2.9"]));
        assert_eq!(found.search, ["a.example"]);
    }

    #[test]
    fn no_more_servers_are_told_than_the_c_library_reads() {
        let text: String = (1..9).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
        let found = with_files(&[("etc/resolv.conf", &text)], &Settings::default());
        assert_eq!(found.servers.len(), 3);
    }
}
