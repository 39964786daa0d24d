//! `launch`'s two nftables tables, `ip launch` and `bridge launch`: checks them and changes their elements.
//!
//! While the tables exist, their rules never change: a guest is an element of a set and a published port an element of
//! a map, added and removed by a netlink transaction. The `nft` program runs only to build the tables.

use crate::lease::Guest;
use crate::link::DENIED;
use crate::netlink::{ACK, Answer, CREATE, DUMP, Message, Socket, attribute};
use crate::publish::{Protocol, Target};
use crate::rules::{ANYWHERE, AT_ADDRESS, BRIDGE_CHAIN, GUESTS, IP_CHAIN, NAME, comment, render};
use crate::settings::Settings;
use rustix::net::netlink::NETFILTER;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

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
const BRIDGE: [u8; HEADER] = [7, 0, 0, 0];
const BATCH: [u8; HEADER] = [0, 0, 0, 10];

/// An attribute holds 64 KiB, and an element takes 40 bytes of it.
const ELEMENTS_A_MESSAGE: usize = 1000;
/// A socket's send buffer holds at least 200 KiB.
const ELEMENTS_A_TRANSACTION: usize = 2000;

/// Why the tables cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The program `nft` is missing.
    #[error("cannot run nft: not found; install the package nftables")]
    NoProgram,
    /// The program could not be started, or its output could not be read.
    #[error("cannot run nft")]
    Program(#[source] io::Error),
    /// The program refused the rules.
    #[error("nft refuses the tables ip launch and bridge launch: {0}")]
    Refused(String),
    /// The kernel refused a request.
    #[error("cannot {action} nftables tables ip launch and bridge launch{}", if .source.is_none() { DENIED } else { "" })]
    Kernel {
        /// The operation that failed.
        action: &'static str,
        /// Why it failed; `None` if this process is not root.
        #[source]
        source: Option<io::Error>,
    },
}

/// Forward chains of other firewalls that drop packets unless one of their rules accepts them, as
/// `FAMILY TABLE CHAIN`.
///
/// A packet passes only if every table accepts it, so `launch`'s tables cannot overrule these chains.
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

/// A connection to the kernel's nftables.
#[derive(Debug)]
pub(crate) struct Table(Socket);

impl Table {
    pub(crate) fn open() -> Result<Self, TableError> {
        Ok(Self(Socket::open(Some(NETFILTER), 0).map_err(|e| failed("open a socket for", e))?))
    }

    /// Whether both tables exist with rules that this version made for these settings.
    pub(crate) fn is_built(&mut self, settings: &Settings) -> Result<bool, TableError> {
        let mut table = Message::new(GET_TABLE, ACK, &IPV4);
        table.text(TABLE_NAME, NAME);
        let chain = |family, name| {
            let mut chain = Message::new(GET_CHAIN, ACK, family);
            chain.text(CHAIN_TABLE, NAME);
            chain.text(CHAIN_NAME, name);
            chain
        };
        let chains = [chain(&IPV4, IP_CHAIN), chain(&BRIDGE, BRIDGE_CHAIN)];
        let expected = chains.len();
        let asked = [table].into_iter().chain(chains).collect();
        let answers = match self.0.ask(asked) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| failed("look up", error))?,
        };
        let wanted = comment(settings);
        let ours = |answer: &Answer| {
            let data = attribute(&answer.body, HEADER, TABLE_USERDATA).unwrap_or_default();
            // The comment is a record of type, length, text and NUL.
            let text = data.get(2..).and_then(|text| text.strip_suffix(b"\0"));
            answer.kind == NEW_TABLE && text == Some(wanted.as_bytes())
        };
        // `nft flush table` empties the chains but keeps them.
        let used = |answer: &&Answer| {
            let used = attribute(&answer.body, HEADER, CHAIN_USE).unwrap_or_default();
            answer.kind == NEW_CHAIN && used.iter().any(|byte| *byte != 0)
        };
        Ok(answers.iter().any(ours) && answers.iter().filter(used).count() == expected)
    }

    /// Removes and adds published ports, all or nothing.
    ///
    /// A port to remove may be missing. If the maps do not hold what they should, or there is too much to change,
    /// changes nothing and returns `false`; the caller then rebuilds the tables.
    pub(crate) fn change(&mut self, remove: &[Target], add: &[Target]) -> Result<bool, TableError> {
        self.change_elements(&port_elements(remove), &port_elements(add))
    }

    /// Removes and adds guests in the same way as [`Table::change`].
    pub(crate) fn change_guests(
        &mut self,
        remove: &[Guest],
        add: &[Guest],
    ) -> Result<bool, TableError> {
        self.change_elements(&guest_elements(remove), &guest_elements(add))
    }

    fn change_elements(&mut self, remove: &[Element], add: &[Element]) -> Result<bool, TableError> {
        if 2 * remove.len() + add.len() > ELEMENTS_A_TRANSACTION {
            return Ok(false);
        }
        let mut messages = vec![Message::new(BATCH_BEGIN, 0, &BATCH)];
        // It is an error to remove a missing element, but none to add an existing one.
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

    /// Removes the tables with their content. It is no error if a table does not exist.
    pub(crate) fn remove(&mut self) -> Result<(), TableError> {
        for family in [&IPV4, &BRIDGE] {
            let mut delete = Message::new(DELETE_TABLE, ACK, family);
            delete.text(TABLE_NAME, NAME);
            let frame = |kind| Message::new(kind, 0, &BATCH);
            match self.0.ask(vec![frame(BATCH_BEGIN), delete, frame(BATCH_END)]) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Rebuilds both tables with these ports and guests in one transaction: each packet meets either the old tables or the
/// new ones.
pub(crate) fn build(
    settings: &Settings,
    targets: &[Target],
    guests: &[Guest],
) -> Result<(), TableError> {
    let script = render(settings, targets, guests);
    let mut nft = match spawn("nft") {
        // The PATH of a user who became root may lack /usr/sbin.
        Err(error) if error.kind() == io::ErrorKind::NotFound => spawn("/usr/sbin/nft"),
        other => other,
    }
    .map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TableError::NoProgram,
        _ => TableError::Program(error),
    })?;
    // nft reads the whole script before it writes anything. If nft died instead, its status shows that.
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

/// An element of one of the sets and maps.
struct Element {
    set: Set,
    key: Vec<u8>,
    /// The map's value for the key.
    data: Option<Vec<u8>>,
}

/// The family of a set's table, and the set's name.
type Set = (&'static [u8; HEADER], &'static str);

fn push_elements(messages: &mut Vec<Message>, kind: u16, elements: &[Element]) {
    for of_one_set in elements.chunk_by(|one, next| one.set == next.set) {
        for chunk in of_one_set.chunks(ELEMENTS_A_MESSAGE) {
            let (family, set) = chunk[0].set;
            let create = if kind == NEW_ELEMENT { CREATE } else { 0 };
            let mut message = Message::new(kind, ACK | create, family);
            message.text(LIST_TABLE, NAME);
            message.text(LIST_SET, set);
            message.nest(LIST_ELEMENTS, |list| {
                for Element { key, data, .. } in chunk {
                    list.nest(LIST_ELEMENT, |element| {
                        element.nest(ELEMENT_KEY, |value| value.attribute(DATA_VALUE, key));
                        if let Some(data) = data {
                            element.nest(ELEMENT_DATA, |value| value.attribute(DATA_VALUE, data));
                        }
                    });
                }
            });
            messages.push(message);
        }
    }
}

// A concatenation is its fields in network byte order, each padded to four bytes.

fn port_elements(targets: &[Target]) -> Vec<Element> {
    let number = |port: u16| {
        let [high, low] = port.to_be_bytes();
        [high, low, 0, 0]
    };
    let element = |(guest, port): &Target| {
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
        let set = if port.address.is_some() { AT_ADDRESS } else { ANYWHERE };
        Element { set: (&IPV4, set), key, data: Some(data) }
    };
    let mut elements: Vec<Element> = targets.iter().map(element).collect();
    // Sorted by set, to need as few messages as possible.
    elements.sort_by_key(|element| element.set.1);
    elements
}

fn guest_elements(guests: &[Guest]) -> Vec<Element> {
    let element = |(mac, address): &Guest| {
        let key = [mac.as_bytes(), &[0, 0][..], &address.octets()].concat();
        Element { set: (&BRIDGE, GUESTS), key, data: None }
    };
    guests.iter().map(element).collect()
}

fn denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn failed(action: &'static str, source: io::Error) -> TableError {
    TableError::Kernel { action, source: Some(source).filter(|source| !denied(source)) }
}
