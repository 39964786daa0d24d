//! Tests vchans on a real Xen, between dom0 and itself and with Xen's own `vchan-socket-proxy`: run as root in dom0.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use xen::store::Store;
use xen::vchan::{Client, EVENT_CHANNEL, Peer, RING_REF, Server, Vchan, VchanError};
use xen::{DomId, GrantRef, Port};

const PROXY: &str = "vchan-socket-proxy";
const PATIENCE: Duration = Duration::from_secs(30);

fn has_xen() -> bool {
    let there = ["/dev/xen/gntalloc", "/dev/xen/gntdev", "/dev/xen/evtchn"];
    let there = there.iter().all(|device| Path::new(device).exists());
    if !there {
        println!("skipped: not in a Xen domain");
    }
    there
}

fn path(test: &str) -> String {
    format!("/local/domain/0/data/launch-test-{test}")
}

/// Connects to the vchan at `path`, once it is published.
fn connect(path: &str) -> Result<Client, VchanError> {
    let store = Store::connect().unwrap();
    let until = Instant::now() + PATIENCE;
    let number = |node: &str| loop {
        match store.read_optional(&format!("{path}/{node}")).unwrap() {
            Some(text) => return text.parse().unwrap(),
            None => assert!(Instant::now() < until, "nothing at {path}/{node}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let ring = number(RING_REF);
    let port = number(EVENT_CHANNEL);
    Client::connect(DomId::DOM0, GrantRef(ring), Port(port), Duration::from_millis(500))
}

fn serve(path: &str, left: u16, right: u16) -> Server {
    let server = Server::listen(DomId::DOM0, left, right).unwrap();
    server.publish(&Store::connect().unwrap(), path).unwrap();
    server
}

fn remove(path: &str) {
    Store::connect().unwrap().remove(path).unwrap();
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| ((index * 7 + index / 251) % 256).try_into().unwrap()).collect()
}

fn write_all(vchan: &mut Vchan, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match vchan.write(bytes).unwrap() {
            0 => assert!(vchan.wait(Some(PATIENCE)).unwrap(), "no room for half a minute"),
            count => bytes = &bytes[count..],
        }
    }
}

fn read_exactly(vchan: &mut Vchan, count: usize) -> Vec<u8> {
    let mut all = vec![];
    let mut buffer = [0; 5000];
    while all.len() < count {
        let most = buffer.len().min(count - all.len());
        match vchan.read(&mut buffer[..most]).unwrap() {
            0 => assert!(vchan.wait(Some(PATIENCE)).unwrap(), "nothing for half a minute"),
            got => all.extend(&buffer[..got]),
        }
    }
    all
}

#[test]
fn a_million_bytes_go_each_way_and_one_client_follows_another() {
    if !has_xen() {
        return;
    }
    let path = path("both");
    let mut server = serve(&path, 12, 13);
    let sent = bytes(1 << 20);
    for _ in 0..3 {
        let client = std::thread::spawn({
            let (path, sent) = (path.clone(), sent.clone());
            move || {
                let mut client = connect(&path).unwrap();
                // Only one client at a time can connect.
                assert!(matches!(connect(&path), Err(VchanError::Busy)));
                write_all(&mut client, &sent);
                assert!(read_exactly(&mut client, sent.len()) == sent);
                write_all(&mut client, b"left unread");
            }
        });
        assert!(server.wait_for_client(Some(PATIENCE)).unwrap());
        assert!(read_exactly(&mut server, sent.len()) == sent);
        write_all(&mut server, &sent);
        client.join().unwrap();
        while server.peer() == Peer::Connected {
            assert!(server.wait(Some(PATIENCE)).unwrap());
        }
        assert_eq!(server.peer(), Peer::Gone);
        assert!(matches!(server.write(b"x"), Err(VchanError::Closed)));
        server.renew().unwrap();
    }
    remove(&path);
}

#[test]
fn a_client_that_is_killed_is_seen_to_have_gone() {
    if !has_xen() {
        return;
    }
    let path = path("killed");
    let server = serve(&path, 12, 12);
    let mut proxy = proxy("client", &path);
    assert!(server.wait_for_client(Some(PATIENCE)).unwrap());
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    while server.peer() == Peer::Connected {
        assert!(server.wait(Some(PATIENCE)).unwrap());
    }
    remove(&path);
}

#[test]
fn a_server_that_ends_is_seen_to_have_gone_and_what_it_sent_is_kept() {
    if !has_xen() {
        return;
    }
    let path = path("gone");
    let mut server = serve(&path, 12, 12);
    let mut client = connect(&path).unwrap();
    write_all(&mut server, b"last words");
    drop(server);
    assert!(!client.is_open());
    assert_eq!(read_exactly(&mut client, 10), b"last words");
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    remove(&path);
}

fn proxy(mode: &str, path: &str) -> Child {
    let mut command = Command::new(PROXY);
    command.args(["-m", mode, "0", path, "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Sends bytes through `proxy` in both directions.
fn converse(vchan: &mut Vchan, proxy: &mut Child) {
    let (mut input, mut output) = (proxy.stdin.take().unwrap(), proxy.stdout.take().unwrap());
    let sent = bytes(100_000);
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || {
            input.write_all(&sent).unwrap();
            // Kept open, because the proxy ends with its input.
            input
        }
    });
    assert!(read_exactly(vchan, sent.len()) == sent, "from the proxy");
    let _input = writer.join().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 100_000];
        output.read_exact(&mut all).unwrap();
        all
    });
    write_all(vchan, &sent);
    assert!(reader.join().unwrap() == sent, "to the proxy");
}

#[test]
fn xens_own_client_understands_our_server() {
    if !has_xen() {
        return;
    }
    for (name, left, right) in [("equal", 12, 12), ("larger", 13, 16)] {
        let path = path(name);
        let mut server = serve(&path, left, right);
        let mut proxy = proxy("client", &path);
        assert!(server.wait_for_client(Some(PATIENCE)).unwrap());
        converse(&mut server, &mut proxy);
        proxy.kill().unwrap();
        proxy.wait().unwrap();
        remove(&path);
    }
}

#[test]
fn our_client_understands_xens_own_server() {
    if !has_xen() {
        return;
    }
    // Its rings are in the shared page: 1 KiB and 2 KiB.
    let path = path("server");
    let mut proxy = proxy("server", &path);
    let mut client = connect(&path).unwrap();
    converse(&mut client, &mut proxy);
    drop(client);
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    remove(&path);
}
