//! The one nftables table: its rules, whether it is there, and its elements.
//!
//! The rules never change while it stands: a published port is one element in a map, added and
//! removed by a netlink transaction. Only building the table runs the `nft` program.

use crate::link::DENIED;
use crate::netlink::{ACK, Answer, CREATE, DUMP, Message, Socket, attribute};
use crate::publish::{Port, Ports, Protocol};
use crate::settings::Settings;
use rustix::net::netlink::NETFILTER;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// Grows when the rules below change, so that a newer launcher replaces an older one's table.
const VERSION: u32 = 1;

const NAME: &str = "launch";
/// Ports on every address of dom0: protocol, port -> address, port.
const ANYWHERE: &str = "ports";
/// Ports on one address of dom0: address, protocol, port -> address, port.
const AT_ADDRESS: &str = "ports_at";

/// From `linux/netfilter/nfnetlink.h` and `nf_tables.h`.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_USE: u16 = 6;
const HOOK_NUMBER: u16 = 1;
/// `NF_INET_FORWARD`, big-endian.
const HOOK_FORWARD: [u8; 4] = [0, 0, 0, 2];
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
/// `struct nfgenmsg`: family, version, resource (big-endian).
const HEADER: usize = 4;
const IPV4: [u8; HEADER] = [2, 0, 0, 0];
const BATCH: [u8; HEADER] = [0, 0, 0, 10];

/// An attribute holds 64 KiB and an element takes 40 bytes of it.
const ELEMENTS_A_MESSAGE: usize = 1000;
/// A socket's send buffer holds at least 200 KiB.
const ELEMENTS_A_TRANSACTION: usize = 2000;

/// Why the table could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No such program.
    #[error("cannot run nft: not found; install the package nftables")]
    NoProgram,
    /// The program did not start or broke off.
    #[error("cannot run nft")]
    Program(#[source] io::Error),
    /// It refused the rules.
    #[error("nft refuses table ip launch: {0}")]
    Refused(String),
    /// The kernel refused a request.
    #[error("cannot {action} nftables table ip launch{}", if .source.is_none() { DENIED } else { "" })]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// Why it failed; `None`: not root.
        #[source]
        source: Option<io::Error>,
    },
}

/// Forward chains of others that drop what none of their rules accepts, as `FAMILY TABLE CHAIN`.
///
/// A packet passes only if every table lets it, so ours cannot help where one of these drops.
pub(crate) fn dropping_chains() -> Result<Vec<String>, TableError> {
    let request = Message::new(GET_CHAIN, DUMP, &[0; HEADER]);
    let answers = Table::open()?.0.ask(vec![request]);
    let parse = |answer: &Answer| {
        let value = |kind| attribute(&answer.body, HEADER, kind);
        let family = match answer.body.first()? {
            1 => "inet",
            2 => "ip",
            _ => return None,
        };
        let text = |kind| Some(String::from_utf8_lossy(value(kind)?.strip_suffix(b"\0")?));
        let forwards = attribute(value(CHAIN_HOOK)?, 0, HOOK_NUMBER)? == HOOK_FORWARD;
        let drops = value(CHAIN_POLICY)? == [0; 4];
        let (table, chain) = (text(CHAIN_TABLE)?, text(CHAIN_NAME)?);
        (forwards && drops).then(|| format!("{family} {table} {chain}"))
    };
    Ok(answers.map_err(|error| failed("look up", error))?.iter().filter_map(parse).collect())
}

/// A published port and the guest it leads to.
pub(crate) type Target = (Ipv4Addr, Port);

/// All that `ports` lists, one by one.
pub(crate) fn targets(ports: &Ports) -> Vec<Target> {
    let each = |published: &crate::publish::Published| {
        let address = published.address;
        let ports: Vec<_> = published.ports.iter().flat_map(|p| p.ports()).collect();
        ports.into_iter().map(move |port| (address, port))
    };
    ports.values().flat_map(each).collect()
}

/// A connection to the kernel's nftables.
#[derive(Debug)]
pub(crate) struct Table(Socket);

impl Table {
    pub(crate) fn open() -> Result<Self, TableError> {
        Ok(Self(Socket::open(Some(NETFILTER), 0).map_err(|e| failed("open a socket for", e))?))
    }

    /// Whether the table is there, with rules, made by this version and for these settings.
    pub(crate) fn is_built(&mut self, settings: &Settings) -> Result<bool, TableError> {
        let mut table = Message::new(GET_TABLE, ACK, &IPV4);
        table.text(TABLE_NAME, NAME);
        let mut chain = Message::new(GET_CHAIN, ACK, &IPV4);
        chain.text(CHAIN_TABLE, NAME);
        chain.text(CHAIN_NAME, "publish");
        let answers = match self.0.ask(vec![table, chain]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| failed("look up", error))?,
        };
        let wanted = comment(settings);
        let ours = |answer: &Answer| {
            let data = attribute(&answer.body, HEADER, TABLE_USERDATA).unwrap_or_default();
            // A record of the comment: type, length, text, NUL.
            let text = data.get(2..).and_then(|text| text.strip_suffix(b"\0"));
            answer.kind == NEW_TABLE && text == Some(wanted.as_bytes())
        };
        // `nft flush table` leaves chains that nothing refers to and that hold nothing.
        let used = |answer: &Answer| {
            let used = attribute(&answer.body, HEADER, CHAIN_USE).unwrap_or_default();
            answer.kind == NEW_CHAIN && used.iter().any(|byte| *byte != 0)
        };
        Ok(answers.iter().any(ours) && answers.iter().any(used))
    }

    /// Takes away and adds published ports, all or nothing.
    ///
    /// A port to take away may be missing. Returns `false`, with nothing changed, where that does
    /// not do: the maps hold something else than they should, or there is too much to change.
    pub(crate) fn change(&mut self, remove: &[Target], add: &[Target]) -> Result<bool, TableError> {
        if 2 * remove.len() + add.len() > ELEMENTS_A_TRANSACTION {
            return Ok(false);
        }
        let mut messages = vec![Message::new(BATCH_BEGIN, 0, &BATCH)];
        // To take away a missing element is an error; to add one that is there is none.
        push_elements(&mut messages, NEW_ELEMENT, remove);
        push_elements(&mut messages, DELETE_ELEMENT, remove);
        push_elements(&mut messages, NEW_ELEMENT, add);
        messages.push(Message::new(BATCH_END, 0, &BATCH));
        match self.0.ask(messages) {
            Ok(_) => Ok(true),
            Err(error) if denied(&error) => Err(failed("change", error)),
            Err(_) => Ok(false),
        }
    }

    /// Removes the table with all it holds; one that is not there is no error.
    pub(crate) fn remove(&mut self) -> Result<(), TableError> {
        let mut delete = Message::new(DELETE_TABLE, ACK, &IPV4);
        delete.text(TABLE_NAME, NAME);
        let frame = |kind| Message::new(kind, 0, &BATCH);
        match self.0.ask(vec![frame(BATCH_BEGIN), delete, frame(BATCH_END)]) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", error)),
            _ => Ok(()),
        }
    }
}

/// Builds the table anew with these ports in it, in one transaction: packets meet either the old
/// table or the new one.
pub(crate) fn build(settings: &Settings, targets: &[Target]) -> Result<(), TableError> {
    let script = render(settings, targets);
    let mut nft = match spawn("nft") {
        // Not in the PATH of a user who became root without a root's PATH.
        Err(error) if error.kind() == io::ErrorKind::NotFound => spawn("/usr/sbin/nft"),
        other => other,
    }
    .map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TableError::NoProgram,
        _ => TableError::Program(error),
    })?;
    // nft reads all of it before it writes anything. It may have died instead; its status tells.
    let sent = nft.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = nft.wait_with_output().map_err(TableError::Program)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let line = message.lines().next().unwrap_or("no reason given");
        return Err(TableError::Refused(line.to_owned()));
    }
    sent.map_err(TableError::Program)
}

fn spawn(program: &str) -> io::Result<Child> {
    Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
}

/// Identifies the table's rules; kept as its comment.
fn comment(settings: &Settings) -> String {
    format!("launch {VERSION}: {} {}", settings.bridge, settings.subnet)
}

/// The table as text for `nft -f`.
fn render(settings: &Settings, targets: &[Target]) -> String {
    let (bridge, subnet) = (&settings.bridge, settings.subnet);
    let mut anywhere = String::new();
    let mut at_address = String::new();
    for (guest, port) in targets {
        let Port { protocol, host, guest: guest_port, .. } = port;
        let (list, address) = match port.address {
            None => (&mut anywhere, String::new()),
            Some(address) => (&mut at_address, format!("{address} . ")),
        };
        // Writing to a String cannot fail.
        let _ = write!(list, "{address}{protocol} . {host} : {guest} . {guest_port}, ");
    }
    let elements = |list: String| match list.is_empty() {
        true => list,
        false => format!("elements = {{ {list} }}"),
    };
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

  # The bridge takes packets for 127.0.0.0/8 (route_localnet), which only dom0 itself may send.
  chain loopback {{
    type filter hook prerouting priority raw
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
  }}

  chain publish {{
    dnat ip to ip daddr . meta l4proto . th dport map @{AT_ADDRESS}
    dnat ip to meta l4proto . th dport map @{ANYWHERE}
  }}
  chain from_outside {{
    type nat hook prerouting priority -100
    ip daddr != 127.0.0.0/8 fib daddr type local jump publish
  }}
  chain from_dom0 {{
    type nat hook output priority -100
    fib daddr type local jump publish
  }}

  # Published to a guest that could not answer the sender by way of dom0: its neighbour, or loopback.
  chain source {{
    type nat hook postrouting priority 100
    oifname "{bridge}" ct status dnat ip saddr {{ 127.0.0.0/8, {subnet} }} masquerade
    ip saddr {subnet} oifname != "{bridge}" masquerade
  }}

  # From outside only to published ports.
  chain forward {{
    type filter hook forward priority 0
    iifname != "{bridge}" oifname "{bridge}" ct state new ct status ! dnat drop
  }}
}}
"#,
        comment = comment(settings),
        anywhere = elements(anywhere),
        at_address = elements(at_address),
    )
}

fn push_elements(messages: &mut Vec<Message>, kind: u16, targets: &[Target]) {
    for (set, at_address) in [(ANYWHERE, false), (AT_ADDRESS, true)] {
        let chosen: Vec<_> =
            targets.iter().filter(|(_, port)| port.address.is_some() == at_address).collect();
        for chunk in chosen.chunks(ELEMENTS_A_MESSAGE) {
            let create = if kind == NEW_ELEMENT { CREATE } else { 0 };
            let mut message = Message::new(kind, ACK | create, &IPV4);
            message.text(LIST_TABLE, NAME);
            message.text(LIST_SET, set);
            message.nest(LIST_ELEMENTS, |list| {
                for target in chunk {
                    list.nest(LIST_ELEMENT, |element| push_element(element, target));
                }
            });
            messages.push(message);
        }
    }
}

/// A concatenation is its fields in network byte order, each padded to four bytes.
fn push_element(element: &mut Message, (guest, port): &Target) {
    let number = |port: u16| {
        let [high, low] = port.to_be_bytes();
        [high, low, 0, 0]
    };
    let protocol = match port.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let mut key = Vec::with_capacity(12);
    key.extend(port.address.iter().flat_map(Ipv4Addr::octets));
    key.extend([protocol, 0, 0, 0]);
    key.extend(number(port.host));
    let mut data = guest.octets().to_vec();
    data.extend(number(port.guest));
    element.nest(ELEMENT_KEY, |value| value.attribute(DATA_VALUE, &key));
    element.nest(ELEMENT_DATA, |value| value.attribute(DATA_VALUE, &data));
}

fn denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn failed(action: &'static str, source: io::Error) -> TableError {
    TableError::Kernel { action, source: Some(source).filter(|source| !denied(source)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Published;

    #[test]
    fn the_rules_name_each_published_port() {
        let publish = |text: &str| text.parse().unwrap();
        let ports = vec![publish("8000-8001:80-81"), publish("127.0.0.1:53:5353/udp")];
        let web = Published { address: Ipv4Addr::new(10, 107, 0, 2), ports };
        let script = render(&Settings::default(), &targets(&Ports::from([("web".into(), web)])));
        assert!(script.contains(
            "elements = { tcp . 8000 : 10.107.0.2 . 80, tcp . 8001 : 10.107.0.2 . 81,  }"
        ));
        assert!(script.contains("elements = { 127.0.0.1 . udp . 53 : 10.107.0.2 . 5353,  }"));
    }

    #[test]
    fn other_settings_make_another_table() {
        let other = Settings { bridge: "other0".parse().unwrap(), ..Settings::default() };
        assert_ne!(comment(&Settings::default()), comment(&other));
    }
}
