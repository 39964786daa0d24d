//! Makes UDP senders reach a newly published port.
//!
//! The kernel translates all packets of a flow as it decided for the first one. A UDP sender that never pauses (a log
//! shipper, a VPN) would keep its flow forever, and so reach no app, or the port's previous owner. Layouts:
//! `linux/netfilter/nfnetlink_conntrack.h`.

use crate::netlink::{ACK, Answer, DUMP, Message, NESTED, Socket, attribute};
use crate::publish::{Protocol, Target};
use rustix::net::netlink::NETFILTER;
use std::io;
use std::net::Ipv4Addr;

const SUBSYSTEM: u16 = 1;
const NEW: u16 = SUBSYSTEM << 8;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
/// `struct nfgenmsg` for IPv4.
const HEADER: [u8; 4] = [2, 0, 0, 0];
const TUPLE_ORIGINAL: u16 = 1;
const ID: u16 = 12;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const ADDRESS_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION: u16 = 3;
const UDP: u8 = 17;

/// Deletes the UDP flows to dom0's `own` addresses and the published ports in `changed`, so that the rules decide about
/// their next packets.
pub(crate) fn forget(changed: &[Target], own: &[Ipv4Addr]) -> io::Result<()> {
    let mut socket = Socket::open(Some(NETFILTER), 0)?;
    let flows = socket.ask(vec![Message::new(GET, DUMP, &HEADER)])?;
    for flow in flows.iter().filter(|flow| flow.kind == NEW) {
        let Some((address, port)) = destination(flow) else { continue };
        let local = address.is_loopback() || own.contains(&address);
        let leads_to = |(_, target): &Target| {
            target.protocol == Protocol::Udp
                && target.host == port
                && target.address.is_none_or(|only| only == address)
        };
        if !local || !changed.iter().any(leads_to) {
            continue;
        }
        let mut delete = Message::new(DELETE, ACK, &HEADER);
        for (kind, nested) in [(TUPLE_ORIGINAL, NESTED), (ID, 0)] {
            let value = attribute(&flow.body, HEADER.len(), kind).unwrap_or_default();
            delete.attribute(kind | nested, value);
        }
        match socket.ask(vec![delete]) {
            // The flow has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// The destination of a flow's first packet, if it was UDP.
fn destination(flow: &Answer) -> Option<(Ipv4Addr, u16)> {
    let tuple = attribute(&flow.body, HEADER.len(), TUPLE_ORIGINAL)?;
    let protocol = attribute(tuple, 0, TUPLE_PROTOCOL)?;
    let addresses = attribute(tuple, 0, TUPLE_ADDRESSES)?;
    if attribute(protocol, 0, PROTOCOL_NUMBER)? != [UDP] {
        return None;
    }
    let address: [u8; 4] = attribute(addresses, 0, ADDRESS_DESTINATION)?.try_into().ok()?;
    let port: [u8; 2] = attribute(protocol, 0, PROTOCOL_DESTINATION)?.try_into().ok()?;
    Some((address.into(), u16::from_be_bytes(port)))
}
