//! A separate network for each test: this process's namespace is dom0, others are its guests and a machine outside.

use net::{Lease, Network, Settings};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Dom0's address on the link to the outside.
pub(crate) const DOM0: &str = "192.0.2.1";
/// The machine outside.
pub(crate) const OUTSIDE: &str = "192.0.2.2";

const NAMED: &str = "LAUNCH_NET_TEST";
const PATIENCE: Duration = Duration::from_secs(15);
/// Long enough for a packet to arrive, and short enough to wait for one that never does.
const IMPATIENCE: Duration = Duration::from_millis(400);

/// Runs `test`, the body of the test function `name`, in new network and mount namespaces.
pub(crate) fn in_own_network(name: &str, test: impl FnOnce(&Dom0)) {
    if std::env::var_os(NAMED).is_some_and(|running| running == name) {
        return test(&Dom0::build());
    }
    if let Some(reason) = missing() {
        println!("skipped {name}: {reason}");
        return;
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(NAMED, name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(output.status.success(), "test {name} failed in its own network");
    // Otherwise a renamed test would run nothing and pass.
    assert!(text.contains("1 passed"), "test {name} did not run:\n{text}");
}

fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root to make network namespaces".into());
    }
    let works = |program: &str, args: &[&str]| {
        let status =
            Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let needed: [(&str, &[&str], &str); 3] = [
        ("ip", &["-V"], "needs ip (package iproute2)"),
        ("nft", &["--version"], "needs nft (package nftables)"),
        ("unshare", &["--net", "--mount", "true"], "this machine makes no network namespaces"),
    ];
    let absent = needed.iter().find(|(program, args, _)| !works(program, args));
    absent.map(|(_, _, reason)| (*reason).to_owned())
}

/// Runs a program that must succeed.
pub(crate) fn run(line: &str) -> String {
    let mut words = line.split_ascii_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program in `place` with `input`; it must succeed. The place `dom0` is this process's own namespace.
pub(crate) fn run_script(place: &str, program: &[&str], input: &str) -> String {
    let inside = ["ip", "netns", "exec", place];
    let words = if place == "dom0" { &[] } else { &inside[..] };
    let words = [words, program].concat();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{words:?} in {place}");
    String::from_utf8(output.stdout).unwrap()
}

/// Sets whether packets between ports of a bridge pass the IP rules, as with Docker's `br_netfilter` in dom0. Returns
/// `false` if this kernel does not have that setting.
pub(crate) fn call_rules_on_bridges(call: bool) -> bool {
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    std::fs::write(path, if call { "1" } else { "0" }).is_ok() || !call
}

/// Dom0 with a link to a machine outside, before `launch`'s network exists.
pub(crate) struct Dom0 {
    state: tempfile::TempDir,
}

impl Dom0 {
    fn build() -> Self {
        run("mount -t tmpfs tmpfs /run");
        run("ip link set lo up");
        run("ip netns add outside");
        run("ip link add uplink0 type veth peer name eth0 netns outside");
        run(&format!("ip addr add {DOM0}/24 dev uplink0"));
        run("ip link set uplink0 up");
        run("ip -n outside link set lo up");
        run(&format!("ip -n outside addr add {OUTSIDE}/24 dev eth0"));
        run("ip -n outside link set eth0 up");
        call_rules_on_bridges(false);
        Self { state: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn network(&self) -> Network {
        Network::open(&Settings::default(), self.state())
    }

    /// The network after it was brought up.
    pub(crate) fn network_up(&self) -> Network {
        let network = self.network();
        network.ensure_up().unwrap();
        network
    }

    /// Makes a guest with a lease: a namespace whose `eth0` is `vifNAME` on the bridge.
    pub(crate) fn guest(&self, network: &Network, name: &str) -> Lease {
        let lease = network.lease(name, None, None).unwrap();
        let Lease { address, prefix, gateway, mac } = &lease;
        let gateway = gateway.unwrap();
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add vif{name} type veth peer name eth0 netns {name}"));
        run(&format!("ip -n {name} link set eth0 address {}", mac));
        run(&format!("ip -n {name} link set lo up"));
        run(&format!("ip -n {name} addr add {address}/{prefix} dev eth0"));
        run(&format!("ip -n {name} link set eth0 up"));
        run(&format!("ip -n {name} route add default via {gateway}"));
        let gateway_mac = network.gateway_mac();
        run(&format!("ip -n {name} neigh replace {gateway} lladdr {gateway_mac} dev eth0"));
        net::attach_to_bridge(&format!("vif{name}"), network.bridge(), Some(*mac)).unwrap();
        serve(name, name, 80);
        lease
    }
}

/// Runs `work` in the namespace `place`; `dom0` is this process's own namespace.
pub(crate) fn inside<T: Send>(place: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            if place != "dom0" {
                let namespace = File::open(format!("/run/netns/{place}")).unwrap();
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&namespace),
                    kind,
                )
                .unwrap();
            }
            work()
        });
        entered.join().unwrap()
    })
}

/// Answers every connection and datagram to `port` in `place` with `word` and the sender's address.
pub(crate) fn serve(place: &str, word: &str, port: u16) {
    let (listener, socket) = inside(place, || {
        (TcpListener::bind(("0.0.0.0", port)).unwrap(), UdpSocket::bind(("0.0.0.0", port)).unwrap())
    });
    let answer = format!("{word} to ");
    let udp_answer = answer.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(format!("{answer}{peer}").as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{udp_answer}{}", peer.ip()).as_bytes(), peer);
        }
    });
}

/// The answer of a TCP server to a client in `place`, or why there is none.
pub(crate) fn ask_tcp(place: &str, address: &str, port: u16) -> Result<String, String> {
    ask_tcp_within(place, address, port, PATIENCE)
}

/// Whether a TCP connection from `place` is refused or dropped.
pub(crate) fn is_closed(place: &str, address: &str, port: u16) -> bool {
    ask_tcp_within(place, address, port, IMPATIENCE).is_err()
}

fn ask_tcp_within(
    place: &str,
    address: &str,
    port: u16,
    patience: Duration,
) -> Result<String, String> {
    let target = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
    inside(place, || {
        let mut stream =
            TcpStream::connect_timeout(&target, patience).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    })
}

/// The answer of a UDP server to a client in `place`, or why there is none.
pub(crate) fn ask_udp(place: &str, address: &str, port: u16) -> Result<String, String> {
    inside(place, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect((address, port)).map_err(|error| error.to_string())?;
        socket.send(b"?").map_err(|error| error.to_string())?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
}
