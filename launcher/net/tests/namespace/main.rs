//! The network in a separate namespace, with real bridges, rules and connections.
//!
//! Needs root, `ip`, `nft` and `unshare`; if one is missing, says so and skips.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod benchmark;
mod hostile;
mod sandbox;

use contract::Mac;
use net::{InterfaceName, NetworkError, Publish, Settings, check_bridge, wait_for_interface};
use sandbox::{
    DOM0, OUTSIDE, ask_tcp, ask_udp, call_rules_on_bridges, in_own_network, inside, is_closed, run,
    serve,
};
use std::collections::HashSet;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

fn publish(texts: &[&str]) -> Vec<Publish> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn answers(answer: Result<String, String>, word: &str) {
    let answer = answer.unwrap();
    assert!(answer.starts_with(&format!("{word} to ")), "{answer}");
}

#[test]
fn guests_reach_the_outside_by_dom0s_address() {
    in_own_network("guests_reach_the_outside_by_dom0s_address", |dom0| {
        serve("outside", "world", 7);
        let network = dom0.network_up();
        dom0.guest(&network, "web");
        assert_eq!(ask_tcp("web", OUTSIDE, 7).unwrap(), format!("world to {DOM0}"));
        assert_eq!(ask_udp("web", OUTSIDE, 7).unwrap(), format!("world to {DOM0}"));
    });
}

#[test]
fn guests_reach_each_other_and_dom0() {
    in_own_network("guests_reach_each_other_and_dom0", |dom0| {
        let network = dom0.network_up();
        let (web, db) = (dom0.guest(&network, "web"), dom0.guest(&network, "db"));
        assert_eq!(
            ask_tcp("web", &db.address.to_string(), 80).unwrap(),
            format!("db to {}", web.address)
        );
        assert_eq!(ask_tcp("dom0", &db.address.to_string(), 80).unwrap(), "db to 10.107.0.1");
    });
}

#[test]
fn a_published_port_answers_from_everywhere() {
    in_own_network("a_published_port_answers_from_everywhere", |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        dom0.guest(&network, "db");
        let ports = publish(&["8080:80", "8080:80/udp", "9000-9002:80-82"]);
        network.publish("web", web.address, &ports).unwrap();
        for rules_on_bridges in [false, true] {
            if !call_rules_on_bridges(rules_on_bridges) {
                println!("skipped br_netfilter: this kernel does not have it");
                continue;
            }
            for (place, address) in [
                ("outside", DOM0),
                ("dom0", DOM0),
                ("dom0", "127.0.0.1"),
                ("dom0", "127.0.0.2"),
                ("dom0", "10.107.0.1"),
                ("db", DOM0),
                ("db", "10.107.0.1"),
                ("web", DOM0),
            ] {
                if place == "web" && rules_on_bridges {
                    // Known limit: the bridge does not send a packet back to the port that it came from.
                    continue;
                }
                println!("from {place} to {address}");
                answers(ask_tcp(place, address, 8080), "web");
                answers(ask_udp(place, address, 8080), "web");
                answers(ask_tcp(place, address, 9000), "web");
            }
        }
        // The guest sees the address of the outside machine.
        assert_eq!(ask_tcp("outside", DOM0, 8080).unwrap(), format!("web to {OUTSIDE}"));
        network.unpublish("web").unwrap();
        for place in ["outside", "dom0", "db"] {
            assert!(is_closed(place, DOM0, 8080), "{place}");
        }
        assert!(network.published().unwrap().is_empty());
    });
}

#[test]
fn a_port_published_on_one_address_answers_there_only() {
    in_own_network("a_port_published_on_one_address_answers_there_only", |dom0| {
        run("ip addr add 192.0.2.9/24 dev uplink0");
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        let ports = publish(&["192.0.2.9:8080:80", "127.0.0.1:8081:80"]);
        network.publish("web", web.address, &ports).unwrap();
        answers(ask_tcp("outside", "192.0.2.9", 8080), "web");
        answers(ask_tcp("dom0", "192.0.2.9", 8080), "web");
        answers(ask_tcp("dom0", "127.0.0.1", 8081), "web");
        for (place, address, port) in [
            ("outside", DOM0, 8080),
            ("dom0", DOM0, 8080),
            ("dom0", "127.0.0.1", 8080),
            ("outside", DOM0, 8081),
            ("outside", "192.0.2.9", 8081),
        ] {
            assert!(is_closed(place, address, port), "{place} {address} {port}");
        }
    });
}

#[test]
fn a_guest_cannot_be_reached_by_routing_around_the_published_ports() {
    in_own_network("a_guest_cannot_be_reached_by_routing_around_the_published_ports", |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        run(&format!("ip -n outside route add 10.107.0.0/16 via {DOM0}"));
        assert!(is_closed("outside", &web.address.to_string(), 80));
        network.publish("web", web.address, &publish(&["8080:80"])).unwrap();
        answers(ask_tcp("outside", DOM0, 8080), "web");
        assert!(is_closed("outside", &web.address.to_string(), 80));
    });
}

/// Lets a machine send packets for 127.0.0.0/8 over its wire, as an attacker would.
fn send_loopback_to(place: &str, gateway: &str) {
    run(&format!("ip -n {place} addr flush dev lo"));
    inside(place, || {
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
    });
    run(&format!("ip -n {place} route add 127.0.0.0/8 via {gateway} dev eth0"));
    // The machine accepts the answers, so that only dom0 can be what stops them.
    inside(place, || std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap());
}

#[test]
fn dom0s_loopback_is_closed_to_guests_and_to_the_outside() {
    in_own_network("dom0s_loopback_is_closed_to_guests_and_to_the_outside", |dom0| {
        let network = dom0.network_up();
        serve("dom0", "secret", 9999);
        let web = dom0.guest(&network, "web");
        network.publish("web", web.address, &publish(&["127.0.0.1:8081:80"])).unwrap();
        answers(ask_tcp("dom0", "127.0.0.1", 9999), "secret");
        answers(ask_tcp("dom0", "127.0.0.1", 8081), "web");
        dom0.guest(&network, "evil");
        send_loopback_to("evil", "10.107.0.1");
        send_loopback_to("outside", DOM0);
        // The attack is real: without the rules it succeeds.
        run("nft flush ruleset");
        answers(ask_tcp("evil", "127.0.0.1", 9999), "secret");
        network.ensure_up().unwrap();
        for rules_on_bridges in [false, true] {
            call_rules_on_bridges(rules_on_bridges);
            for place in ["evil", "outside"] {
                assert!(is_closed(place, "127.0.0.1", 9999), "{place}");
                assert!(is_closed(place, "127.0.0.1", 8081), "{place}");
            }
        }
    });
}

#[test]
fn published_ports_come_back_after_the_rules_were_lost() {
    in_own_network("published_ports_come_back_after_the_rules_were_lost", |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        network.publish("web", web.address, &publish(&["127.0.0.1:8080:80", "81:80"])).unwrap();
        for loss in ["nft flush ruleset", "nft flush table ip launch", "nft delete table ip launch"]
        {
            run(loss);
            assert!(is_closed("dom0", "127.0.0.1", 8080), "{loss}");
            network.ensure_up().unwrap();
            answers(ask_tcp("dom0", "127.0.0.1", 8080), "web");
            answers(ask_tcp("outside", DOM0, 81), "web");
        }
    });
}

#[test]
fn a_map_that_someone_emptied_does_not_stop_an_app_from_changing_its_ports() {
    in_own_network(
        "a_map_that_someone_emptied_does_not_stop_an_app_from_changing_its_ports",
        |dom0| {
            let network = dom0.network_up();
            let web = dom0.guest(&network, "web");
            network.publish("web", web.address, &publish(&["8080:80"])).unwrap();
            run("nft flush map ip launch ports");
            network.publish("web", web.address, &publish(&["8081:80"])).unwrap();
            answers(ask_tcp("dom0", DOM0, 8081), "web");
            // Another target for the port: the table is built anew.
            run("nft add element ip launch ports { tcp . 8082 : 10.107.9.9 . 9 }");
            network.publish("web", web.address, &publish(&["8082:80"])).unwrap();
            answers(ask_tcp("dom0", DOM0, 8082), "web");
            assert!(is_closed("dom0", DOM0, 8081));
        },
    );
}

#[test]
fn thousands_of_ports_can_be_published_at_once() {
    in_own_network("thousands_of_ports_can_be_published_at_once", |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        for range in ["10000-11500:80-1580", "10000-14999:80-5079"] {
            network.publish("web", web.address, &publish(&[range])).unwrap();
            answers(ask_tcp("outside", DOM0, 10000), "web");
        }
        network.unpublish("web").unwrap();
        assert!(!run("nft list table ip launch").contains("elements"));
    });
}

#[test]
fn a_udp_sender_that_never_pauses_reaches_whoever_has_the_port_now() {
    const NAME: &str = "a_udp_sender_that_never_pauses_reaches_whoever_has_the_port_now";
    in_own_network(NAME, |dom0| {
        let network = dom0.network_up();
        let (web, db) = (dom0.guest(&network, "web"), dom0.guest(&network, "db"));
        let sender = inside("outside", || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket.connect((DOM0, 8080)).unwrap();
            socket
        });
        let ask = || {
            let mut buffer = [0; 64];
            // The first answer may be dom0's error that no process has the port.
            let length = (0..3).find_map(|_| {
                sender.send(b"?").ok()?;
                sender.recv(&mut buffer).ok()
            });
            String::from_utf8_lossy(&buffer[..length.unwrap_or_default()]).into_owned()
        };
        let ports = publish(&["8080:80/udp"]);
        assert_eq!(ask(), "");
        network.publish("web", web.address, &ports).unwrap();
        assert_eq!(ask(), format!("web to {OUTSIDE}"));
        run("nft flush ruleset");
        assert_eq!(ask(), "");
        network.ensure_up().unwrap();
        assert_eq!(ask(), format!("web to {OUTSIDE}"));
        network.unpublish("web").unwrap();
        network.publish("db", db.address, &ports).unwrap();
        assert_eq!(ask(), format!("db to {OUTSIDE}"));
    });
}

#[test]
fn take_down_leaves_nothing() {
    in_own_network("take_down_leaves_nothing", |dom0| {
        let state =
            || run("ip -4 route show table all") + &run("nft list ruleset") + &run("ip -br link");
        let network = dom0.network();
        network.take_down().unwrap();
        // First waits for carrier and link addresses of the uplink.
        wait_for_interface("uplink0", Duration::from_secs(1)).unwrap();
        let before = state();
        network.ensure_up().unwrap();
        network.publish("web", "10.107.0.2".parse().unwrap(), &publish(&["8080:80"])).unwrap();
        assert_ne!(state(), before);
        network.take_down().unwrap();
        assert_eq!(state(), before);
        network.take_down().unwrap();
    });
}

#[test]
fn ten_launches_at_once_from_nothing_all_get_their_network() {
    in_own_network("ten_launches_at_once_from_nothing_all_get_their_network", |dom0| {
        let launch = |number: u16| {
            let network = dom0.network_up();
            let name = format!("app{number}");
            let lease = dom0.guest(&network, &name);
            let ports = publish(&[&format!("{}:80", 8000 + number)]);
            network.publish(&name, lease.address, &ports).unwrap();
            lease.address
        };
        let launch = &launch;
        let addresses: HashSet<IpAddr> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..10).map(|number| scope.spawn(move || launch(number))).collect();
            all.into_iter().map(|launched| launched.join().unwrap()).collect()
        });
        assert_eq!(addresses.len(), 10);
        for number in 0..10 {
            answers(ask_tcp("outside", DOM0, 8000 + number), &format!("app{number}"));
        }
        let gone = dom0.network().retain(|owner| owner == "app3").unwrap();
        assert_eq!(gone.len(), 9);
        for number in 0..10 {
            assert_eq!(is_closed("outside", DOM0, 8000 + number), number != 3);
        }
        assert_eq!(dom0.network().leases().unwrap().into_keys().collect::<Vec<_>>(), ["app3"]);
    });
}

#[test]
fn a_process_killed_while_it_publishes_leaves_nothing_that_stays_in_the_way() {
    const NAME: &str = "a_process_killed_while_it_publishes_leaves_nothing_that_stays_in_the_way";
    if let Ok(state) = std::env::var("LAUNCH_NET_PUBLISH") {
        let network = net::Network::open(&Settings::default(), state);
        loop {
            let address = "10.107.0.2".parse().unwrap();
            network.publish("web", address, &publish(&["8080:80", "81-89:1-9"])).unwrap();
            network.unpublish("web").unwrap();
        }
    }
    in_own_network(NAME, |dom0| {
        let network = dom0.network_up();
        let mut left_over = 0;
        for round in 0..30 {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", NAME])
                .env("LAUNCH_NET_PUBLISH", dom0.state())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // The child is working; how far it gets before the kill differs from round to round.
            while !network.published().unwrap().contains_key("web") {
                assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_micros(round * 377));
            child.kill().unwrap();
            child.wait().unwrap();
            left_over += network.retain(|owner| owner != "web").unwrap().len();
            assert!(!run("nft list table ip launch").contains("elements"), "round {round}");
            let db = network.lease("db", None, None).unwrap().address;
            network.publish("db", db, &publish(&["8080:80"])).unwrap();
            network.unpublish("db").unwrap();
        }
        assert!(left_over > 0, "no child was killed between publishing and taking back");
    });
}

#[test]
fn a_port_that_is_taken_says_by_whom_and_changes_nothing() {
    in_own_network("a_port_that_is_taken_says_by_whom_and_changes_nothing", |dom0| {
        let network = dom0.network_up();
        let web = network.lease("web", None, None).unwrap().address;
        let db = network.lease("db", None, None).unwrap().address;
        network.publish("web", web, &publish(&["8080:80"])).unwrap();
        let refusal =
            |ports: &[&str]| network.publish("db", db, &publish(ports)).unwrap_err().to_string();
        assert_eq!(
            refusal(&["5432:5432", "127.0.0.1:8080:80"]),
            "port 8080/tcp is taken by web; choose another with -p"
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let message = refusal(&["5432:5432", &format!("{port}:80")]);
        let process = format!("(process {}) in dom0; choose another with -p", std::process::id());
        assert!(message.starts_with(&format!("port {port}/tcp is taken by ")), "{message}");
        assert!(message.ends_with(&process), "{message}");
        assert!(refusal(&["192.0.2.77:80:80"]).contains("dom0 has no such address"));
        assert!(refusal(&["80:80", "80:81"]).contains("is published twice"));
        assert_eq!(network.published().unwrap().into_keys().collect::<Vec<_>>(), ["web"]);
        assert!(!run("nft list table ip launch").contains("5432"));
        // The owner's own port does not count as taken.
        network.publish("web", web, &publish(&["8080:81"])).unwrap();
    });
}

#[test]
fn a_subnet_that_dom0_uses_elsewhere_is_refused_by_name() {
    in_own_network("a_subnet_that_dom0_uses_elsewhere_is_refused_by_name", |dom0| {
        let refusal = || dom0.network().ensure_up().unwrap_err().to_string();
        for route in ["10.0.0.0/8", "10.107.0.0/16", "10.107.200.0/24"] {
            run(&format!("ip route add {route} via {OUTSIDE}"));
            let expected = format!(
                "subnet 10.107.0.0/16 of bridge launch0 overlaps dom0's route {route} on uplink0;"
            );
            assert!(refusal().starts_with(&expected), "{}", refusal());
            run(&format!("ip route del {route}"));
        }
        assert_eq!(run("nft list ruleset"), "");
        // The default route covers every subnet and does not count.
        run(&format!("ip route add default via {OUTSIDE}"));
        dom0.network().ensure_up().unwrap();
        // The admin may add such a route later, e.g. to a guest's own subnet.
        run("ip route add 10.107.4.0/24 via 10.107.0.2");
        run("nft flush ruleset");
        dom0.network().ensure_up().unwrap();
    });
}

#[test]
fn what_stands_in_the_way_of_the_bridge_is_named() {
    in_own_network("what_stands_in_the_way_of_the_bridge_is_named", |dom0| {
        run("ip link add launch0 type veth");
        let error = dom0.network().ensure_up().unwrap_err();
        assert!(matches!(error, NetworkError::NotABridge(_)), "{error}");
        dom0.network().take_down().unwrap();
        run("ip link del launch0");
        dom0.network().ensure_up().unwrap();
        let other = Settings { subnet: "10.108.0.0/16".parse().unwrap(), ..Settings::default() };
        let error = net::Network::open(&other, dom0.state()).ensure_up().unwrap_err().to_string();
        assert!(error.starts_with(
            "bridge launch0 has address 10.107.0.1/16, but the settings say 10.108.0.0/16;"
        ));
    });
}

#[test]
fn whatever_is_missing_is_made_again() {
    in_own_network("whatever_is_missing_is_made_again", |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        network.publish("web", web.address, &publish(&["8080:80"])).unwrap();
        let own = network.lease("own", None, Some(Mac([0, 0x16, 0x3e, 9, 8, 7]))).unwrap().address;
        for damage in [
            "ip link set launch0 down",
            "ip addr flush dev launch0",
            "ip link set launch0 address 00:16:3e:01:02:03",
            "sysctl -qw net.ipv4.ip_forward=0",
            "sysctl -qw net.ipv4.conf.launch0.route_localnet=0",
        ] {
            run(damage);
            network.ensure_up().unwrap();
            println!("after {damage}");
            answers(ask_tcp("outside", DOM0, 8080), "web");
            answers(ask_tcp("dom0", "127.0.0.1", 8080), "web");
            let known = run("ip neigh show nud permanent dev launch0");
            assert!(known.contains(&format!("{} lladdr", web.address)), "{known}");
            assert!(known.contains(&format!("{own} lladdr 00:16:3e:09:08:07")), "{known}");
        }
    });
}

#[test]
fn a_port_of_the_bridge_is_up_at_once_and_does_not_change_its_address() {
    in_own_network("a_port_of_the_bridge_is_up_at_once_and_does_not_change_its_address", |dom0| {
        let network = dom0.network_up();
        let mac = network.gateway_mac().to_string();
        run("ip link add vif1.0 address 00:00:00:00:00:01 type veth peer name peer0");
        run("ip link set peer0 up");
        net::attach_to_bridge("vif1.0", "launch0", None).unwrap();
        assert!(run("ip link show launch0").contains(&mac));
        let port = run("ip -d address show vif1.0");
        for word in ["master launch0", "UP", "NOARP", "state forwarding"] {
            assert!(port.contains(word), "{word}: {port}");
        }
        for word in ["MULTICAST", "inet6"] {
            assert!(!port.contains(word), "{word}: {port}");
        }
        let error = |interface, bridge| {
            let error = net::attach_to_bridge(interface, bridge, None).unwrap_err();
            format!("{error}: {}", std::error::Error::source(&error).unwrap())
        };
        assert!(
            error("vif9.0", "launch0")
                .starts_with("cannot attach interface vif9.0 to bridge launch0: No such device")
        );
        assert!(error("vif1.0", "nobridge").contains("No such device"));
        assert!(error("vif1.0", "lo").contains("not supported"), "{}", error("vif1.0", "lo"));
    });
}

#[test]
fn a_guest_is_known_before_it_says_a_word_and_forgotten_with_its_lease() {
    const NAME: &str = "a_guest_is_known_before_it_says_a_word_and_forgotten_with_its_lease";
    in_own_network(NAME, |dom0| {
        let network = dom0.network_up();
        let web = dom0.guest(&network, "web");
        let text = web.mac.to_string();
        // All entries except dom0's own.
        let known = || {
            let all = run("ip neigh show nud permanent dev launch0");
            let guests = all.lines().filter(|line| !line.starts_with("10.107.0.1 "));
            guests.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(known().trim_end(), format!("{} lladdr {text} PERMANENT", web.address));
        assert!(
            run("bridge fdb show dev vifweb").contains(&format!("{text} master launch0 static"))
        );
        assert_eq!(network.lease("web", None, Some(Mac([2, 0, 0, 0, 0, 1]))).unwrap().mac.0[0], 2);
        assert!(known().contains("02:00:00:00:00:01"));
        // Stopped and started: the same lease on another interface.
        run("ip link del vifweb");
        run("ip netns del web");
        dom0.guest(&network, "web");
        assert_eq!(ask_tcp("dom0", &web.address.to_string(), 80).unwrap(), "web to 10.107.0.1");

        network.release("web").unwrap();
        assert_eq!(known(), "");
        dom0.guest(&network, "db");
        assert_ne!(known(), "");
        assert_eq!(network.retain(|_| false).unwrap(), ["db"]);
        assert_eq!(known(), "");
    });
}

#[test]
fn a_packet_for_one_guest_reaches_no_other() {
    in_own_network("a_packet_for_one_guest_reaches_no_other", |dom0| {
        let network = dom0.network_up();
        let (web, db) = (dom0.guest(&network, "web"), dom0.guest(&network, "db"));
        let taken = |place: &str| {
            run(&format!("ip -n {place} -s link show eth0"))
                .lines()
                .skip_while(|line| !line.contains("RX:"))
                .nth(1)
                .and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
                .unwrap()
        };
        // A starting app already has its interface, a stopped one no longer has one.
        let stopped = "10.107.9.9";
        run(&format!("ip neigh add {stopped} lladdr 00:16:3e:6b:09:09 dev launch0"));
        run("ip -n db link set eth0 down");
        let before = taken("web");
        assert!(is_closed("dom0", &db.address.to_string(), 80));
        assert!(is_closed("dom0", stopped, 80));
        assert_eq!(taken("web"), before);

        // Nor does a broadcast of another guest arrive.
        run("ip -n db link set eth0 up");
        let _ = ask_tcp("db", "10.107.8.8", 80);
        assert_eq!(taken("web"), before);

        // The hostile guest takes the other's link address, and announces that to all.
        let stolen = db.mac.to_string();
        run("ip -n web link set eth0 down");
        run(&format!("ip -n web link set eth0 address {stolen} up"));
        let _ = ask_tcp("web", "10.107.0.1", 80);
        for _ in 0..3 {
            let answer = ask_tcp("dom0", &db.address.to_string(), 80);
            assert_eq!(answer.unwrap(), "db to 10.107.0.1");
        }
        assert!(is_closed("dom0", &web.address.to_string(), 80));
    });
}

#[test]
fn waiting_for_an_interface_ends_when_it_comes() {
    in_own_network("waiting_for_an_interface_ends_when_it_comes", |_| {
        wait_for_interface("uplink0", Duration::ZERO).unwrap();
        let started = Instant::now();
        let error = wait_for_interface("vif7.0", Duration::from_millis(50)).unwrap_err();
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert_eq!(error.to_string(), "cannot wait for interface vif7.0");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                wait_for_interface("vif7.0", Duration::from_secs(60)).map(|()| Instant::now())
            });
            std::thread::sleep(Duration::from_millis(100));
            run("ip link add other type veth");
            run("ip link add vif7.0 type veth");
            let made = Instant::now();
            let woken = waiting.join().unwrap().unwrap();
            assert!(woken.saturating_duration_since(made) < Duration::from_secs(10));
        });
    });
}

#[test]
fn without_root_or_without_nft_the_message_says_so() {
    const NAME: &str = "without_root_or_without_nft_the_message_says_so";
    if std::env::var_os("LAUNCH_NET_NOT_ROOT").is_some() {
        // This checks the message as a user would see it.
        let state = std::env::temp_dir().join(format!("launch-net-{}", std::process::id()));
        let network = net::Network::open(&Settings::default(), &state);
        println!("{}", network.ensure_up().unwrap_err());
        println!("{}", network.take_down().unwrap_err());
        println!("{}", net::attach_to_bridge("lo", "launch0", None).unwrap_err());
        let _ = std::fs::remove_dir_all(state);
        return;
    }
    in_own_network(NAME, |dom0| {
        // A place that an unprivileged user can read, unlike the build folder.
        std::fs::copy(std::env::current_exe().unwrap(), "/run/test").unwrap();
        let as_nobody = || {
            let output = std::process::Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "/run/test"])
                .args(["--exact", NAME, "--nocapture"])
                .env("LAUNCH_NET_NOT_ROOT", "1")
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let said = as_nobody();
        let denied = ": permission denied; run as root in dom0";
        assert!(said.contains(&format!("cannot make bridge launch0{denied}")), "{said}");
        assert!(said.contains(&format!(
            "cannot remove nftables tables ip launch and bridge launch{denied}"
        )));
        run("ip link add launch0 type bridge");
        let said = as_nobody();
        assert!(said.contains(&format!("cannot attach interface lo to bridge launch0{denied}")));

        let programs = run("which nft");
        run("mount -t tmpfs tmpfs /usr/sbin");
        assert!(programs.starts_with("/usr/sbin/"), "{programs}");
        let error = dom0.network().ensure_up().unwrap_err().to_string();
        assert_eq!(error, "cannot run nft: not found; install the package nftables");
    });
}

#[test]
fn a_firewall_that_drops_forwarded_packets_is_named() {
    in_own_network("a_firewall_that_drops_forwarded_packets_is_named", |dom0| {
        dom0.network_up();
        run("nft add table ip filter");
        run("nft add chain ip filter FORWARD { type filter hook forward priority 0; }");
        run("nft add chain ip filter INPUT { type filter hook input priority 0; policy drop; }");
        run("nft add chain ip filter DOCKER");
        assert!(net::Network::dropping_firewalls().unwrap().is_empty());
        run("nft chain ip filter FORWARD { policy drop; }");
        run("nft add table inet mine");
        run("nft add chain inet mine fw { type filter hook forward priority 9; policy drop; }");
        let mut found = net::Network::dropping_firewalls().unwrap();
        found.sort();
        assert_eq!(found, ["inet mine fw", "ip filter FORWARD"]);
    });
}

#[test]
fn an_admins_bridge_is_checked() {
    in_own_network("an_admins_bridge_is_checked", |_| {
        let refusal = |name: &str| {
            let name: InterfaceName = name.parse().unwrap();
            check_bridge(&name).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(refusal("xenbr0").starts_with("bridge xenbr0 does not exist;"));
        run("ip link add xenbr0 type bridge");
        assert!(refusal("xenbr0").starts_with("bridge xenbr0 is down;"));
        run("ip link set xenbr0 up");
        assert_eq!(refusal("xenbr0"), "");
        assert!(refusal("uplink0").starts_with("interface uplink0 is not a bridge;"));
    });
}

#[test]
fn a_full_disk_fails_the_lease_and_keeps_the_others() {
    in_own_network("a_full_disk_fails_the_lease_and_keeps_the_others", |dom0| {
        let network = dom0.network();
        run(&format!("mount -t tmpfs -o size=16k tmpfs {}", dom0.state().display()));
        network.lease("web", None, None).unwrap();
        let before = network.leases().unwrap();
        let filler = dom0.state().join("filler");
        let _ = std::fs::write(&filler, [1; 65536]);
        let error = network.lease("db", None, None).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("leases"), "{error}");
        assert_eq!(network.leases().unwrap(), before);
        std::fs::remove_file(filler).unwrap();
        network.lease("db", None, None).unwrap();
    });
}
