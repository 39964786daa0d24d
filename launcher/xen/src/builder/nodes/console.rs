//! The nodes of a domain's console.

use super::super::guest::{Ports, Rings};
use super::node::{Node, plain};
use crate::DomId;
use crate::paths::Home;
use crate::store::{Store, StoreError};
use std::time::{Duration, Instant};

/// How much of its console's output xenconsoled keeps in memory, in bytes; libxl's own figure.
const CONSOLE_LIMIT_BYTES: &str = "1048576";
/// The longest that xenconsoled is waited for; on a busy machine half a second was not enough.
const CONSOLE_TIME: Duration = Duration::from_secs(3);

/// What xenconsoled reads, once it hears of the domain; the guest must not change where its console goes
/// to. The first console is older than devices: nobody looks for a backend of it.
pub(super) fn console(nodes: &mut Vec<Node>, domid: DomId, ports: Ports, rings: Rings) {
    let console = Home(domid).join("console");
    let details = [
        ("limit", CONSOLE_LIMIT_BYTES.to_owned()),
        ("type", "xenconsoled".to_owned()),
        ("output", "pty".to_owned()),
        ("tty", String::new()),
        ("port", ports.console.to_string()),
        ("ring-ref", rings.console.to_string()),
    ];
    nodes.extend(details.map(|(name, value)| plain(format!("{console}/{name}"), value)));
}

/// Gives xenconsoled, which has just heard of a domain, time to write the domain's terminal: it does so
/// also when the domain has gone by then, and would make its home again.
pub(in crate::builder) fn let_console_come(store: &Store, domid: DomId) -> Result<(), StoreError> {
    let tty = Home(domid).join("console/tty");
    let until = Instant::now() + CONSOLE_TIME;
    while store.read_optional(&tty)?.is_some_and(|tty| tty.is_empty()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
