//! Finds out whether a process of dom0 uses a port, and which one.

use crate::publish::{Port, Protocol};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A process of dom0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The name that the kernel shows.
    pub name: String,
    /// The process id.
    pub pid: u32,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {}) in dom0", self.name, self.pid)
    }
}

/// Why a port cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// A process uses it. `None` if that process has ended meanwhile.
    Taken(Option<Occupant>),
    /// Dom0 does not have the address.
    NoSuchAddress(Ipv4Addr),
    /// Another error.
    Other(io::Error),
}

/// Checks whether the port could be bound now.
///
/// The port stays free: a process may bind it later, but packets go to the guest first.
pub(crate) fn check(port: &Port) -> Result<(), Unusable> {
    let address = port.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    match try_bind(port.protocol, SocketAddrV4::new(address, port.host)) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::ADDRINUSE) => Err(Unusable::Taken(find(port.protocol, port.host))),
        Err(rustix::io::Errno::ADDRNOTAVAIL) => Err(Unusable::NoSuchAddress(address)),
        Err(errno) => Err(Unusable::Other(errno.into())),
    }
}

fn try_bind(protocol: Protocol, address: SocketAddrV4) -> rustix::io::Result<()> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    if protocol == Protocol::Tcp {
        // Connections that are ending do not occupy a port; only a listener does.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)
}

/// Finds the process with a socket bound to a port, by the socket's inode.
fn find(protocol: Protocol, port: u16) -> Option<Occupant> {
    let inodes: Vec<String> = ["", "6"]
        .iter()
        .filter_map(|family| fs::read_to_string(format!("/proc/net/{protocol}{family}")).ok())
        .flat_map(|table| {
            table.lines().filter_map(|line| inode(line, protocol, port)).collect::<Vec<_>>()
        })
        .collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let has_one = |pid: u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut targets = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        targets
            .any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
            .then_some(())
    };
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if has_one(pid).is_some() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(Occupant { name: name.trim_end().to_owned(), pid });
        }
    }
    None
}

/// The inode in a line of `/proc/net/tcp` or `udp`, if the socket is bound to `port` (and listens).
fn inode(line: &str, protocol: Protocol, port: u16) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, local) = words.get(1)?.rsplit_once(':')?;
    let listens = protocol == Protocol::Udp || *words.get(3)? == "0A";
    let same = u16::from_str_radix(local, 16).ok()? == port;
    (listens && same).then(|| words.get(9).map(|inode| (*inode).to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn port(protocol: Protocol, host: u16) -> Port {
        Port { address: None, protocol, host, guest: 80 }
    }

    fn taken_by(port: &Port) -> u32 {
        match check(port) {
            Err(Unusable::Taken(Some(occupant))) => occupant.pid,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_listener_on_any_address_is_found_with_its_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                println!("skipped {address}: this machine cannot bind it");
                continue;
            };
            let number = listener.local_addr().unwrap().port();
            assert_eq!(taken_by(&port(Protocol::Tcp, number)), std::process::id(), "{address}");
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = socket.local_addr().unwrap().port();
        assert_eq!(taken_by(&port(Protocol::Udp, number)), std::process::id());
    }

    #[test]
    fn connections_that_are_ending_do_not_hold_a_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The server closes first, so its side stays in TIME_WAIT.
        drop((server, client, listener));
        assert!(matches!(check(&port(Protocol::Tcp, address.port())), Ok(())));
    }

    #[test]
    fn an_address_that_dom0_does_not_have_is_named() {
        let address = Ipv4Addr::new(203, 0, 113, 77);
        let port = Port { address: Some(address), ..port(Protocol::Tcp, 8080) };
        assert!(matches!(check(&port), Err(Unusable::NoSuchAddress(found)) if found == address));
    }
}
