//! Guests and outside machines that send forbidden packets.

use crate::sandbox::{
    DOM0, Dom0, OUTSIDE, ask_tcp, ask_udp, in_own_network, is_closed, run, run_script, serve,
};
use crate::{answers, publish};
use net::{Lease, Settings};
use std::process::Command;

const PACKETS: &str = include_str!("../../../../tests/hostile/packets.py");
const GATEWAY: &str = "10.107.0.1";
/// A source address that no machine has.
const STRANGER: &str = "203.0.113.9";

/// Sends frames from `place`, in the form that `packets.py` reads.
fn send(place: &str, frames: &[String]) {
    let output = Command::new("ip")
        .args(["netns", "exec", place, "python3", "-c", PACKETS, "eth0"])
        .args(frames)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts to count what arrives in `place`: IPv4 packets, ARP and others, each from unexpected sources.
fn count(place: &str) {
    let rules = format!(
        "table ip seen {{ chain arrivals {{ type filter hook prerouting priority 500
            ip saddr {STRANGER} counter comment \"stranger\"
            udp dport 80 udp sport 40000 counter comment \"udp\"
            tcp sport 40000 counter comment \"tcp\"
            icmp type {{ echo-request, echo-reply }} counter comment \"icmp\"
        }}
        }}
        table arp seen {{ chain arrivals {{ type filter hook input priority 0
            arp operation {{ request, reply }} arp saddr ip {{ {GATEWAY}, {STRANGER}, 10.107.0.3 }} counter comment \"arp\"
        }}
        }}
        table ip6 seen {{ chain arrivals {{ type filter hook prerouting priority 500
            ip6 saddr fe80::99 counter comment \"ipv6\"
        }}
        }}"
    );
    run_script(place, &["nft", "-f", "-"], &rules);
}

/// The counters of [`count`] in `place` that are not 0, as `NAME`.
fn arrived(place: &str) -> Vec<String> {
    let list = run_script(place, &["nft", "list", "ruleset"], "");
    let counters = list.lines().filter(|line| line.contains("counter packets"));
    let counted = counters.filter(|line| !line.contains("packets 0 "));
    let name = |line: &str| Some(line.split("comment \"").nth(1)?.split('"').next()?.to_owned());
    counted.filter_map(name).collect()
}

fn mac(lease: &Lease) -> String {
    lease.mac.to_string()
}

/// The link address of dom0's interface to the outside.
fn uplink() -> String {
    let link = run("ip -o link show uplink0");
    let mut words = link.split_ascii_whitespace();
    words.find(|word| *word == "link/ether");
    words.next().unwrap().to_owned()
}

/// Checks that the packets arrive without the rules, so that only the rules can be what stops them.
fn without_rules(then: impl FnOnce()) {
    run("nft delete table ip launch");
    run("nft delete table bridge launch");
    then();
}

fn with_settings(dom0: &Dom0, settings: Settings) -> net::Network {
    let network = net::Network::open(&settings, dom0.state());
    network.ensure_up().unwrap();
    network
}

#[test]
fn nothing_from_outside_reaches_an_app_that_publishes_nothing() {
    const NAME: &str = "hostile::nothing_from_outside_reaches_an_app_that_publishes_nothing";
    in_own_network(NAME, |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        run(&format!("ip -n outside route add 10.107.0.0/16 via {DOM0}"));
        count("web");
        let dom0s = uplink();
        let kinds = ["syn", "synack", "ack", "rst", "udp", "echo", "echo-reply"];
        let frames: Vec<String> = kinds
            .iter()
            .map(|kind| format!("{kind},own,{},{OUTSIDE},{}", dom0s, web.address))
            .collect();
        send("outside", &frames);
        assert_eq!(arrived("web"), Vec::<String>::new());
        without_rules(|| send("outside", &frames));
        assert_eq!(arrived("web"), ["udp", "tcp", "icmp"]);
        // Answers to the app's own connections arrive.
        network.ensure_up().unwrap();
        serve("outside", "world", 7);
        assert_eq!(ask_tcp("web", OUTSIDE, 7).unwrap(), format!("world to {DOM0}"));
    });
}

#[test]
fn a_guest_sends_with_its_own_address_only() {
    in_own_network("hostile::a_guest_sends_with_its_own_address_only", |dom0| {
        let network = dom0.network_up();
        let (web, db) = (dom0.guest(&network, "web"), dom0.guest(&network, "db"));
        for place in ["dom0", "outside", "db"] {
            count(place);
        }
        let gateway = network.gateway_mac().to_string();
        let (webs, dbs) = (mac(&web), mac(&db));
        let frames = [
            // To dom0, to the outside and to the other guest, with an unused source and with the other guest's.
            format!("udp,own,{gateway},{STRANGER},{GATEWAY}"),
            format!("udp,own,{gateway},{},{GATEWAY}", db.address),
            format!("syn,own,{gateway},{},{GATEWAY}", db.address),
            format!("echo,own,{gateway},{STRANGER},{OUTSIDE}"),
            format!("udp,own,{gateway},{STRANGER},{OUTSIDE}"),
            format!("udp,own,{dbs},{STRANGER},{}", db.address),
            format!("udp,own,{dbs},{GATEWAY},{}", db.address),
            // With the other guest's link address or an unused one, and its own IP address.
            format!("udp,{dbs},{gateway},{},{GATEWAY}", db.address),
            format!("udp,02:00:00:00:00:09,{gateway},{},{GATEWAY}", web.address),
            format!("udp,{dbs},{gateway},{},{OUTSIDE}", db.address),
            // With a VLAN tag.
            format!("tagged,own,{dbs},{STRANGER},{}", db.address),
            // To a link address that bridges keep for themselves.
            format!("udp,own,01:80:c2:00:00:0e,{STRANGER},{GATEWAY}"),
            format!("udp,own,01:80:c2:00:00:00,{STRANGER},{GATEWAY}"),
            format!("udp,own,01:80:c2:00:00:03,{},{GATEWAY}", db.address),
            format!("ipv6,own,01:80:c2:00:00:0e,{STRANGER},{GATEWAY}"),
            format!("ipv6,own,33:33:00:00:00:01,{STRANGER},{GATEWAY}"),
            format!("ipv6,own,{dbs},{STRANGER},{GATEWAY}"),
            // With a wrong claim about who has an address.
            format!("arp-reply,own,{dbs},{GATEWAY},{}", db.address),
            format!("arp-reply,{gateway},{dbs},{GATEWAY},{}", db.address),
            format!("arp-request,own,{gateway},{},{GATEWAY}", db.address),
            format!("arp-reply,{dbs},{gateway},{},{GATEWAY}", db.address),
        ];
        send("web", &frames);
        for place in ["dom0", "outside", "db"] {
            assert_eq!(arrived(place), Vec::<String>::new(), "in {place}");
        }
        let neighbours = run("ip -n db neigh show dev eth0");
        assert!(neighbours.contains(&format!("{GATEWAY} lladdr {gateway} ")), "{neighbours}");
        // An honest packet passes, on the same way.
        send("web", &[format!("udp,{webs},{gateway},{},{GATEWAY}", web.address)]);
        assert_eq!(arrived("dom0"), ["udp"]);
        answers(ask_tcp("web", &db.address.to_string(), 80), "db");

        run("ip link set vifweb type bridge_slave locked off");
        without_rules(|| send("web", &frames));
        assert_eq!(arrived("dom0"), ["stranger", "udp", "tcp", "icmp", "arp", "ipv6"]);
        assert_eq!(arrived("outside"), ["stranger", "udp", "icmp"]);
        assert_eq!(arrived("db"), ["stranger", "udp", "arp", "ipv6"]);
    });
}

#[test]
fn nobody_outside_speaks_with_a_guests_address() {
    in_own_network("hostile::nobody_outside_speaks_with_a_guests_address", |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.uplink0.rp_filter=0");
        run_script(
            "dom0",
            &["nft", "-f", "-"],
            "table ip seen { chain arrivals { type filter hook input priority 500
                udp sport 40000 counter comment \"udp\"\n}\n}",
        );
        let dom0s = uplink();
        let frames = [format!("udp,own,{},{},{DOM0}", dom0s, web.address)];
        send("outside", &frames);
        assert_eq!(arrived("dom0"), Vec::<String>::new());
        without_rules(|| send("outside", &frames));
        assert_eq!(arrived("dom0"), ["udp"]);
    });
}

#[test]
fn dom0s_services_can_be_closed_to_guests() {
    in_own_network("hostile::dom0s_services_can_be_closed_to_guests", |dom0| {
        serve("dom0", "service", 9999);
        serve("dom0", "names", 53);
        serve("outside", "world", 7);
        let network = dom0.network_up();
        let (web, db) = (dom0.guest(&network, "web"), dom0.guest(&network, "db"));
        network.publish("db", db.address, &publish(&["8080:80"])).unwrap();
        for address in [GATEWAY, DOM0] {
            answers(ask_tcp("web", address, 9999), "service");
        }
        answers(ask_udp("web", GATEWAY, 9999), "service");
        let closed = Settings { apps_reach_dom0: false, ..Settings::default() };
        with_settings(dom0, closed.clone());
        for address in [GATEWAY, DOM0] {
            assert!(is_closed("web", address, 9999), "{address}");
            assert!(is_closed("web", address, 53), "{address}");
        }
        // Everything else works as before.
        answers(ask_tcp("web", DOM0, 8080), "db");
        answers(ask_tcp("web", &db.address.to_string(), 80), "db");
        answers(ask_tcp("web", OUTSIDE, 7), "world");
        answers(ask_tcp("dom0", &web.address.to_string(), 80), "web");
        // Guests may reach a name server that the settings name.
        with_settings(dom0, Settings { dns: vec![GATEWAY.parse().unwrap()], ..closed });
        answers(ask_udp("web", GATEWAY, 53), "names");
        answers(ask_tcp("web", GATEWAY, 53), "names");
        assert!(is_closed("web", DOM0, 53));
        assert!(is_closed("web", GATEWAY, 9999));
        dom0.network_up();
        answers(ask_tcp("web", GATEWAY, 9999), "service");
    });
}

#[test]
fn guests_can_be_kept_from_each_other() {
    in_own_network("hostile::guests_can_be_kept_from_each_other", |dom0| {
        serve("dom0", "service", 9999);
        serve("outside", "world", 7);
        let network = dom0.network_up();
        let (web, db) = (dom0.guest(&network, "web"), dom0.guest(&network, "db"));
        network.publish("db", db.address, &publish(&["8080:80"])).unwrap();
        let dbs = db.address.to_string();
        answers(ask_tcp("web", &dbs, 80), "db");
        with_settings(dom0, Settings { apps_reach_each_other: false, ..Settings::default() });
        assert!(is_closed("web", &dbs, 80));
        // Dom0 does not forward it either.
        run(&format!("ip -n web route add {dbs}/32 via {GATEWAY}"));
        assert!(is_closed("web", &dbs, 80));
        count("db");
        let kinds = ["udp", "syn", "synack", "rst", "echo", "echo-reply", "arp-request"];
        let frames: Vec<String> = [mac(&db), network.gateway_mac().to_string()]
            .iter()
            .flat_map(|to| kinds.map(|kind| format!("{kind},own,{to},{},{dbs}", web.address)))
            .collect();
        send("web", &frames);
        assert_eq!(arrived("db"), Vec::<String>::new());
        // Published ports are open to everyone, and everything else works as before.
        answers(ask_tcp("web", DOM0, 8080), "db");
        answers(ask_tcp("web", GATEWAY, 9999), "service");
        answers(ask_tcp("web", OUTSIDE, 7), "world");
        answers(ask_tcp("dom0", &dbs, 80), "db");
        dom0.network_up();
        answers(ask_tcp("web", &dbs, 80), "db");
    });
}

#[test]
fn an_older_launchers_table_is_replaced_and_running_guests_stay_connected() {
    const NAME: &str =
        "hostile::an_older_launchers_table_is_replaced_and_running_guests_stay_connected";
    in_own_network(NAME, |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        network.publish("web", web.address, &publish(&["8080:80"])).unwrap();
        // An app's interface as an older version made it, without group and locked port.
        run("ip link set vifweb group default");
        run("ip link set vifweb type bridge_slave locked off");
        without_rules(|| {
            let older = "table ip launch { comment \"launch 1: launch0 10.107.0.0/16\"
                chain publish { accept\n}\n}";
            run_script("dom0", &["nft", "-f", "-"], older);
        });
        dom0.network_up();
        assert!(!run("nft list table ip launch").contains("launch 1:"));
        answers(ask_tcp("outside", DOM0, 8080), "web");
        let db = dom0.guest(&network, "db");
        answers(ask_tcp("web", &db.address.to_string(), 80), "db");
        answers(ask_tcp("db", &web.address.to_string(), 80), "web");
        // After a restart it is like all others.
        net::attach_to_bridge("vifweb", "launch0", Some(web.mac)).unwrap();
        answers(ask_tcp("outside", DOM0, 8080), "web");
        count("db");
        send("web", &[format!("udp,own,{},{STRANGER},{}", mac(&db), db.address)]);
        assert_eq!(arrived("db"), Vec::<String>::new());
    });
}

#[test]
fn guests_are_let_in_again_whichever_table_was_lost() {
    in_own_network("hostile::guests_are_let_in_again_whichever_table_was_lost", |dom0| {
        let network = dom0.network_up();
        dom0.guest(&network, "web");
        for loss in [
            "nft flush ruleset",
            "nft delete table ip launch",
            "nft delete table bridge launch",
            "nft flush table bridge launch",
        ] {
            run(loss);
            network.ensure_up().unwrap();
            let elements = run("nft list set bridge launch guests");
            assert!(elements.contains("00:16:3e:6b:00:02 . 10.107.0.2"), "{loss}: {elements}");
            assert!(run("nft list table bridge launch").contains("arp saddr ip"), "{loss}");
            answers(ask_tcp("dom0", "10.107.0.2", 80), "web");
        }
        network.release("web").unwrap();
        assert!(!run("nft list table bridge launch").contains("elements"));
        // A link address other than that of the address, and then yet another one.
        for last in [8, 9] {
            let own = contract::Mac([0, 0x16, 0x3e, 9, 9, last]);
            let lease = network.lease("own", None, Some(own)).unwrap();
            let elements = run("nft list set bridge launch guests");
            let element = format!("{} . {}", own, lease.address);
            assert!(elements.contains(&format!("elements = {{ {element} }}")), "{elements}");
        }
    });
}

#[test]
fn an_app_that_ends_after_the_settings_changed_takes_its_ports_and_addresses_along() {
    const NAME: &str =
        "hostile::an_app_that_ends_after_the_settings_changed_takes_its_ports_and_addresses_along";
    in_own_network(NAME, |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        network.publish("web", web.address, &publish(&["8080:80"])).unwrap();
        with_settings(dom0, Settings { apps_reach_dom0: false, ..Settings::default() });
        answers(ask_tcp("outside", DOM0, 8080), "web");
        // As the app's monitor does, which has the old settings.
        network.unpublish("web").unwrap();
        network.release("web").unwrap();
        let left = run("nft list ruleset");
        assert!(!left.contains("elements"), "{left}");
    });
}

#[test]
fn a_bridge_that_would_keep_ipv6_is_an_error() {
    in_own_network("hostile::a_bridge_that_would_keep_ipv6_is_an_error", |dom0| {
        run("mount --bind /proc/sys/net/ipv6 /proc/sys/net/ipv6");
        run("mount -o remount,bind,ro /proc/sys/net/ipv6");
        let error = dom0.network().ensure_up().unwrap_err();
        let path = "/proc/sys/net/ipv6/conf/launch0/disable_ipv6";
        assert_eq!(error.to_string(), format!("cannot write 1 to {path}"));
        run("umount /proc/sys/net/ipv6");
        dom0.network_up();
        assert_eq!(run(&format!("cat {path}")).trim(), "1");
    });
}
