//! Guests and machines outside that send what they should not, on real domains. The rules one by one
//! are in `net`'s own tests.

use tests::Dom0;

const PACKETS: &str = include_str!("../hostile/packets.py");
const GATEWAY: &str = "10.107.0.1";
/// An address that nobody has, as source.
const STRANGER: &str = "203.0.113.9";

/// Prints what an app gets that it should not: packets of `packets.py`, and who says to have an address.
const SNIFFER: &str = "import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print('listens', flush=True)
while True:
    f, about = s.recvfrom(2000)
    if about[2] == socket.PACKET_OUTGOING:
        continue
    if f[12:14] == b'\\x08\\x06':
        print('arp', f[22:28].hex(':'), socket.inet_ntoa(f[28:32]), flush=True)
    elif f[12:14] == b'\\x86\\xdd':
        print('ipv6', flush=True)
    elif f[34:36] == b'\\x9c\\x40' or f[23] == 1:
        print('ip', socket.inet_ntoa(f[26:30]), f[23], flush=True)
";

/// Counts packets with these sources where dom0 takes them in (`in`) and where they leave it (`out`).
fn count(dom0: &Dom0, sources: &[&str]) {
    let counters =
        sources.iter().map(|source| format!("ip saddr {source} udp sport 40000 counter\n"));
    let counters: String = counters.collect();
    let rules = format!(
        "table ip seen\ndelete table ip seen\ntable ip seen {{
            chain in {{ type filter hook input priority 500\n{counters}}}
            chain out {{ type filter hook postrouting priority 500\noifname != \"launch0\" jump gone\n}}
            chain gone {{ {counters} }}
        }}\n"
    );
    dom0.write("/tmp/seen.nft", &rules);
    dom0.sh("nft -f /tmp/seen.nft").expect_success();
}

/// The counters that are not 0, of those that [`count`] made.
fn counted(dom0: &Dom0) -> Vec<String> {
    let table = dom0.sh("nft list table ip seen").expect_success().stdout;
    let lines = table.lines().filter(|line| line.contains("counter packets"));
    lines.filter(|line| !line.contains("packets 0 ")).map(|line| line.trim().to_owned()).collect()
}

fn without_rules(dom0: &Dom0) {
    dom0.sh("nft delete table ip launch; nft delete table bridge launch").expect_success();
}

/// Has the app `name` send frames, which are written as `packets.py` wants them.
fn send(dom0: &Dom0, name: &str, frames: &[String]) {
    dom0.write("/tmp/packets.py", PACKETS);
    let words = frames.join(" ");
    let script = format!("launch exec -i {name} python3 - eth0 {words} < /tmp/packets.py");
    assert!(dom0.sh(&script).expect_success().stdout.contains("sent"));
}

fn listener(dom0: &Dom0) -> tests::App<'_> {
    let app = dom0.start("listener", &["python", "python3", "-c", SNIFFER]);
    let _ = dom0.eventually(120, "launch logs listener | grep listens");
    app
}

/// What the listener has got, but for ARP of those who say the truth.
fn heard(dom0: &Dom0) -> Vec<String> {
    let truth = |line: &str| {
        line.strip_prefix("arp ").is_some_and(|arp| {
            let Some((mac, address)) = arp.split_once(' ') else { return false };
            let last: Vec<_> = address.split('.').filter_map(|n| n.parse::<u8>().ok()).collect();
            last.len() == 4
                && mac == format!("00:16:3e:{:02x}:{:02x}:{:02x}", last[1], last[2], last[3])
        })
    };
    let log = dom0.launch(&["logs", "listener"]).expect_success().stdout;
    log.lines().filter(|line| *line != "listens" && !truth(line)).map(str::to_owned).collect()
}

fn mac_of(address: &str) -> String {
    let last: Vec<u8> = address.split('.').filter_map(|number| number.parse().ok()).collect();
    format!("00:16:3e:{:02x}:{:02x}:{:02x}", last[1], last[2], last[3])
}

#[test]
fn a_guest_sends_with_its_own_address_only_whatever_built_it() {
    let dom0 = Dom0::shared();
    let listener = listener(dom0);
    let other = listener.address();
    count(dom0, &[STRANGER, &other]);
    let (gateway, others) = (mac_of(GATEWAY), mac_of(&other));
    let uplink = dom0.sh("ip route get 10.0.2.2 | sed -n 's/.*via \\([0-9.]*\\).*/\\1/p'").stdout;
    let outside = if uplink.trim().is_empty() { "10.0.2.2" } else { uplink.trim() };
    let frames = [
        // To dom0, by its uplink, and to the other guest; as nobody and as the other guest.
        format!("udp,own,{gateway},{STRANGER},{GATEWAY}"),
        format!("udp,own,{gateway},{other},{GATEWAY}"),
        format!("udp,own,{gateway},{STRANGER},{outside}"),
        format!("udp,own,{others},{STRANGER},{other}"),
        format!("udp,own,{others},{GATEWAY},{other}"),
        format!("udp,{others},{gateway},{other},{GATEWAY}"),
        format!("udp,own,01:80:c2:00:00:0e,{STRANGER},{GATEWAY}"),
        format!("ipv6,own,{others},{STRANGER},{GATEWAY}"),
        format!("arp-reply,own,{others},{GATEWAY},{other}"),
    ];
    let spies: [&[&str]; 2] = [&[], &["--toolstack", "xl"]];
    let mut honest_ones = vec![];
    for flags in spies {
        let spy = dom0.start("spy", &[flags, &["python", "sleep", "100000"]].concat());
        let _ = dom0.eventually(120, "launch exec spy true");
        send(dom0, "spy", &frames);
        // What is honest comes through, and comes last.
        let own = spy.address();
        let honest = format!("udp,own,{others},{own},{other}");
        send(dom0, "spy", &[honest.clone(), honest.replace(&others, &gateway)]);
        let _ = dom0.eventually(60, &format!("launch logs listener | grep 'ip {own} 17'"));
        assert_eq!(counted(dom0), Vec::<String>::new(), "{flags:?}");
        honest_ones.push(format!("ip {own} 17"));
        let stray = heard(dom0).into_iter().filter(|line| !honest_ones.contains(line));
        assert_eq!(stray.collect::<Vec<_>>(), Vec::<String>::new(), "{flags:?}");
    }
    // The attack is a real one: without our rules it succeeds.
    let spy = dom0.start("spy", &["python", "sleep", "100000"]);
    let _ = dom0.eventually(120, "launch exec spy true");
    without_rules(dom0);
    send(dom0, "spy", &frames);
    let _ = dom0.eventually(60, &format!("launch logs listener | grep 'ip {STRANGER} 17'"));
    assert!(counted(dom0).len() >= 3, "{:?}", counted(dom0));
    assert!(heard(dom0).iter().any(|line| line.ends_with(GATEWAY)), "{:?}", heard(dom0));
    drop(spy);
    // The next app brings the rules back, with those that run.
    let page = dom0.start("page", &["-p", "18081:80", "hello"]);
    let _ = dom0.eventually(60, "curl -sf --max-time 5 http://127.0.0.1:18081/");
    let guests = dom0.sh("nft list set bridge launch guests").expect_success().stdout;
    for address in [&other, &page.address()] {
        assert!(guests.contains(&format!("{} . {address}", mac_of(address))), "{guests}");
    }
    dom0.sh("nft delete table ip seen").expect_success();
}

/// A machine outside, with a route to the apps by way of dom0: a network namespace of dom0's.
struct Outside<'a>(&'a Dom0);

impl<'a> Outside<'a> {
    fn new(dom0: &'a Dom0) -> Self {
        dom0.sh(
            "ip netns add outside && ip link add uplink1 type veth peer name eth0 netns outside && \
             ip addr add 192.0.2.1/24 dev uplink1 && ip link set uplink1 up && \
             ip -n outside addr add 192.0.2.2/24 dev eth0 && ip -n outside link set eth0 up && \
             ip -n outside route add default via 192.0.2.1",
        )
        .expect_success();
        Self(dom0)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        let _ = self.0.sh("ip netns del outside; ip link del uplink1");
    }
}

#[test]
fn nothing_from_outside_reaches_an_app_that_publishes_nothing() {
    let dom0 = Dom0::shared();
    let listener = listener(dom0);
    let _outside = Outside::new(dom0);
    let kinds = ["syn", "synack", "ack", "rst", "udp", "echo", "echo-reply"];
    let dom0s = dom0.sh("ip -o link show uplink1 | sed 's/.*ether \\([^ ]*\\).*/\\1/'").stdout;
    let frames: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{kind},own,{},192.0.2.2,{}", dom0s.trim(), listener.address()))
        .collect();
    dom0.write("/tmp/packets.py", PACKETS);
    let send = format!("ip netns exec outside python3 /tmp/packets.py eth0 {}", frames.join(" "));
    dom0.sh(&send).expect_success();
    // What dom0 itself sends comes later by the same way.
    let ping = format!("ping -c 1 -W 30 {}", listener.address());
    dom0.sh(&ping).expect_success();
    let _ = dom0.eventually(60, "launch logs listener | grep 'ip 10.107.0.1 1'");
    assert!(!heard(dom0).iter().any(|line| line.contains("192.0.2.2")), "{:?}", heard(dom0));
    without_rules(dom0);
    dom0.sh(&send).expect_success();
    let _ = dom0.eventually(60, "launch logs listener | grep 'ip 192.0.2.2 1'");
    assert!(heard(dom0).contains(&"ip 192.0.2.2 6".to_owned()), "{:?}", heard(dom0));
    // The rules back again.
    drop(dom0.start("after", &["hello"]));
}

#[test]
fn apps_can_be_kept_from_dom0_and_from_each_other() {
    let dom0 = Dom0::shared();
    let page = dom0.start("page", &["-p", "18082:80", "hello"]);
    let address = page.address();
    let _ = dom0.eventually(60, &format!("curl -sf --max-time 5 http://{address}/"));
    let service = "cd /tmp && setsid python3 -c 'import socket; s = socket.create_server((\"\", 18083))\n\
         while True: s.accept()[0].close()' >/dev/null 2>&1 & echo $! > /tmp/service.pid";
    dom0.sh(service).expect_success();
    let spy = dom0.start("spy", &["python", "sleep", "100000"]);
    let _ = dom0.eventually(120, "launch exec spy true");
    let reaches = |host: &str, port: u16| {
        let script =
            format!("import socket; socket.create_connection((\\\"{host}\\\", {port}), 10)");
        dom0.sh(&format!("launch exec spy python3 -c \"{script}\"")).code == 0
    };
    let dom0s = dom0.sh("hostname -I | cut -d' ' -f1").stdout;
    let dom0s = dom0s.trim();
    let all = |dom0_open: bool, apps_open: bool| {
        assert_eq!(reaches(GATEWAY, 18083), dom0_open, "dom0 by its bridge");
        assert_eq!(reaches(dom0s, 18083), dom0_open, "dom0 by {dom0s}");
        assert_eq!(reaches(&address, 80), apps_open, "another app");
        // What is published is for everybody, and dom0 reaches its apps.
        assert!(reaches(GATEWAY, 18082), "a published port");
        dom0.sh(&format!("curl -sf --max-time 20 http://{address}/")).expect_success();
    };
    all(true, true);
    let with = |setting: &str| {
        let usual = dom0.sh("cat /etc/launch/config.toml").stdout;
        dom0.write("/tmp/closed.toml", &format!("{usual}\n[network]\n{setting}\n"));
        // The settings are in force from the next start on, also for those that run.
        let brief =
            "LAUNCH_CONFIG=/tmp/closed.toml launch run -d --name brief hello && launch rm -f brief";
        dom0.sh(brief).expect_success();
    };
    with("apps_reach_dom0 = false");
    all(false, true);
    with("apps_reach_each_other = false");
    all(true, false);
    with("apps_reach_dom0 = false\napps_reach_each_other = false");
    all(false, false);
    drop(dom0.start("after", &["hello"]));
    all(true, true);
    drop(spy);
    dom0.sh("kill $(cat /tmp/service.pid)").expect_success();
}
