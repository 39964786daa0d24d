//! Addresses, published ports, and the way out.

use tests::Dom0;

#[test]
fn a_published_port_answers_on_every_address_of_dom0() {
    let dom0 = Dom0::shared();
    let _app = dom0.start("published", &["-p", "18080:80", "hello"]);
    for address in ["127.0.0.1", "10.107.0.1", "$(hostname -I | cut -d' ' -f1)"] {
        let _ = dom0.eventually(60, &format!("curl -sf --max-time 5 http://{address}:18080/"));
    }
}

#[test]
fn a_guest_reaches_what_dom0_reaches() {
    let dom0 = Dom0::shared();
    // 10.0.2.2 is the machine that the lab runs on; the registry listens there.
    let script = "import urllib.request as u; import sys; print(u.urlopen('http://10.0.2.2:'+sys.argv[1]+'/v2/').status)";
    let port = dom0.sh("sed -n 's/.*10.0.2.2:\\([0-9]*\\).*/\\1/p' /etc/launch/config.toml").stdout;
    let output =
        dom0.launch(&["--rm", "--name", "outward", "python", "python3", "-c", script, port.trim()]);
    assert!(output.code == 0 && output.stdout.contains("200"), "{output:?}");
}

#[test]
fn an_app_without_a_network_has_only_lo() {
    let output = Dom0::shared().launch(&[
        "--rm",
        "--name",
        "alone",
        "--network",
        "none",
        "python",
        "ls",
        "/sys/class/net",
    ]);
    assert_eq!(output.stdout.trim(), "lo", "{output:?}");
}
