//! The rules of `launch`'s two nftables tables, as text for `nft -f`.
//!
//! `table bridge launch` checks each frame that comes from a guest's interface, and `table ip launch` each packet that
//! dom0 receives or forwards. Both accept what the settings allow, and drop the rest.

use crate::lease::Guest;
use crate::port::GUEST_GROUP;
use crate::publish::{Port, Protocol, Target};
use crate::settings::Settings;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

/// The name of both tables.
pub(crate) const NAME: &str = "launch";
/// Ports on every address of dom0: protocol, port -> address, port.
pub(crate) const ANYWHERE: &str = "ports";
/// Ports on one address of dom0: address, protocol, port -> address, port.
pub(crate) const AT_ADDRESS: &str = "ports_at";
/// The allowed pairs of link address and IP address, one element per guest.
pub(crate) const GUESTS: &str = "guests";
/// A chain of `table ip` that always has rules.
pub(crate) const IP_CHAIN: &str = "publish";
/// A chain of `table bridge` that always has rules.
pub(crate) const BRIDGE_CHAIN: &str = "from_guests";

/// Identifies the rules, in the comment of `table ip`. It is a hash of the rules, so that rules of other settings or
/// other versions of this program are noticed.
pub(crate) fn comment(settings: &Settings) -> String {
    // The hash may differ between compilers; the tables are then rebuilt once.
    let mut hasher = DefaultHasher::new();
    tables(settings, "", &Elements::default()).hash(&mut hasher);
    format!("launch {:016x}", hasher.finish())
}

/// The script that replaces both tables, with these published ports and guests.
pub(crate) fn render(settings: &Settings, targets: &[Target], guests: &[Guest]) -> String {
    tables(settings, &comment(settings), &Elements::of(targets, guests))
}

/// The elements of sets and maps, as text.
#[derive(Default)]
struct Elements {
    anywhere: String,
    at_address: String,
    guests: String,
}

impl Elements {
    fn of(targets: &[Target], guests: &[Guest]) -> Self {
        let (mut anywhere, mut at_address) = (String::new(), String::new());
        for (guest, port) in targets {
            let Port { protocol, host, guest: guest_port, .. } = port;
            let (list, address) = match port.address {
                None => (&mut anywhere, String::new()),
                Some(address) => (&mut at_address, format!("{address} . ")),
            };
            // Writing to a String cannot fail.
            let _ = write!(list, "{address}{protocol} . {host} : {guest} . {guest_port}, ");
        }
        let mut pairs = String::new();
        for (mac, address) in guests {
            let _ = write!(pairs, "{} . {address}, ", mac);
        }
        let elements = |list: String| match list.is_empty() {
            true => list,
            false => format!("elements = {{ {list} }}"),
        };
        Self {
            anywhere: elements(anywhere),
            at_address: elements(at_address),
            guests: elements(pairs),
        }
    }
}

fn tables(settings: &Settings, comment: &str, elements: &Elements) -> String {
    ip_table(settings, comment, elements) + &bridge_table(settings, elements)
}

fn ip_table(settings: &Settings, comment: &str, elements: &Elements) -> String {
    let Settings { bridge, subnet, .. } = settings;
    let Elements { anywhere, at_address, .. } = elements;
    format!(
        r#"table ip {NAME}
delete table ip {NAME}
table ip {NAME} {{
  comment "{comment}"

  map {ANYWHERE} {{
    type inet_proto . inet_service : ipv4_addr . inet_service
    {anywhere}
  }}
  map {AT_ADDRESS} {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    {at_address}
  }}

  # Addresses come from where they belong, and packets for 127.0.0.0/8, which the bridge takes
  # (route_localnet), from dom0 alone.
  chain sources {{
    type filter hook prerouting priority raw
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
    iifname "{bridge}" ip saddr != {subnet} drop
    iifname != {{ "{bridge}", "lo" }} ip saddr {subnet} drop
  }}

  chain {IP_CHAIN} {{
    dnat ip to ip daddr . meta l4proto . th dport map @{AT_ADDRESS}
    dnat ip to meta l4proto . th dport map @{ANYWHERE}
  }}
  chain from_outside {{
    type nat hook prerouting priority -100
    ip daddr != 127.0.0.0/8 fib daddr type local jump {IP_CHAIN}
  }}
  chain from_dom0 {{
    type nat hook output priority -100
    fib daddr type local jump {IP_CHAIN}
  }}

  # Published to a guest that could not answer the sender by way of dom0: its neighbour, or loopback.
  chain source {{
    type nat hook postrouting priority 100
    oifname "{bridge}" ct status dnat ip saddr {{ 127.0.0.0/8, {subnet} }} masquerade
    ip saddr {subnet} oifname != "{bridge}" masquerade
  }}

  # To guests: answers, and what was published. From guests: all but what belongs to no
  # connection, as that is not masqueraded.
  chain forward {{
    type filter hook forward priority 0
    oifname "{bridge}" jump to_guests
    iifname "{bridge}" ct state invalid drop
  }}
  chain to_guests {{
    ct state established,related accept
    ct status dnat accept
    {neighbours}
    drop
  }}

  # From guests to dom0 itself.
  chain input {{
    type filter hook input priority 0
    iifname "{bridge}" jump to_dom0
  }}
  chain to_dom0 {{
    ct state established,related accept
    ct state invalid drop
    {services}
  }}
}}
"#,
        neighbours = match settings.apps_reach_each_other {
            true => format!("iifname \"{bridge}\" accept"),
            false => String::new(),
        },
        services = match settings.apps_reach_dom0 {
            true => "accept".to_owned(),
            false => format!("{}drop", name_servers(&settings.dns)),
        },
    )
}

/// Rules that let guests reach the settings' name servers, in case dom0 runs them.
fn name_servers(dns: &[Ipv4Addr]) -> String {
    if dns.is_empty() {
        return String::new();
    }
    let addresses: Vec<String> = dns.iter().map(Ipv4Addr::to_string).collect();
    let protocols = format!("{}, {}", Protocol::Tcp, Protocol::Udp);
    format!(
        "ip daddr {{ {} }} meta l4proto {{ {protocols} }} th dport 53 accept\n    ",
        addresses.join(", ")
    )
}

fn bridge_table(settings: &Settings, elements: &Elements) -> String {
    let guests = &elements.guests;
    format!(
        r#"table bridge {NAME}
delete table bridge {NAME}
table bridge {NAME} {{
  set {GUESTS} {{
    type ether_addr . ipv4_addr
    {guests}
  }}

  # A guest sends IPv4 and ARP, with its own addresses. That the link address belongs to the interface
  # is what a locked port of the bridge sees to.
  chain {BRIDGE_CHAIN} {{
    type filter hook prerouting priority -300
    meta iifgroup != {GUEST_GROUP} accept
    meta protocol ip ether saddr . ip saddr @{GUESTS} accept
    meta protocol arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 ether saddr . arp saddr ip @{GUESTS} arp saddr ether . arp saddr ip @{GUESTS} accept
    drop
  }}

  chain to_neighbours {{
    type filter hook forward priority -200
    meta iifgroup {GUEST_GROUP} meta oifgroup {GUEST_GROUP} {between}
  }}
}}
"#,
        between = if settings.apps_reach_each_other { "accept" } else { "drop" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{Ports, Published, targets};

    #[test]
    fn the_rules_name_each_published_port_and_each_guest() {
        let publish = |text: &str| text.parse().unwrap();
        let ports = vec![publish("8000-8001:80-81"), publish("127.0.0.1:53:5353/udp")];
        let web = Published { address: Ipv4Addr::new(10, 107, 0, 2), ports };
        let targets = targets(&Ports::from([("web".into(), web)]));
        let guests = [(contract::Mac([0, 0x16, 0x3e, 0x6b, 0, 2]), Ipv4Addr::new(10, 107, 0, 2))];
        let script = render(&Settings::default(), &targets, &guests);
        assert!(script.contains(
            "elements = { tcp . 8000 : 10.107.0.2 . 80, tcp . 8001 : 10.107.0.2 . 81,  }"
        ));
        assert!(script.contains("elements = { 127.0.0.1 . udp . 53 : 10.107.0.2 . 5353,  }"));
        assert!(script.contains("elements = { 00:16:3e:6b:00:02 . 10.107.0.2,  }"));
    }

    #[test]
    fn each_setting_that_changes_the_rules_is_noticed() {
        let usual = Settings::default();
        for other in [
            Settings { bridge: "other0".parse().unwrap(), ..usual.clone() },
            Settings { subnet: "10.108.0.0/16".parse().unwrap(), ..usual.clone() },
            Settings { apps_reach_dom0: false, ..usual.clone() },
            Settings { apps_reach_each_other: false, ..usual.clone() },
        ] {
            assert_ne!(comment(&usual), comment(&other));
        }
        let closed = Settings { apps_reach_dom0: false, ..usual };
        let server = Settings { dns: vec![Ipv4Addr::new(10, 107, 0, 1)], ..closed.clone() };
        assert_ne!(comment(&closed), comment(&server));
    }
}
