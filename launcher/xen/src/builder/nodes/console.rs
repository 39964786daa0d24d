//! The nodes of a domain's console.

use super::super::guest::{Ports, Rings};
use super::node::{Node, plain};
use crate::DomId;
use crate::paths::Home;
use crate::store::{Store, StoreError};
use std::time::{Duration, Instant};

/// How much console output xenconsoled keeps in memory, in bytes; libxl's own figure.
const CONSOLE_LIMIT_BYTES: &str = "1048576";
/// How long to wait for xenconsoled at most; on a busy machine half a second was too short.
const CONSOLE_TIME: Duration = Duration::from_secs(3);

/// The nodes that xenconsoled reads when the domain is introduced. The guest may not write them, so it cannot redirect
/// its console. The first console has no backend: it is older than Xen's device model.
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

/// Waits until xenconsoled has written the terminal of a domain that was just introduced. xenconsoled writes even after
/// the domain has been destroyed, and would then create the domain's home again.
pub(in crate::builder) fn let_console_come(store: &Store, domid: DomId) -> Result<(), StoreError> {
    let tty = Home(domid).join("console/tty");
    let until = Instant::now() + CONSOLE_TIME;
    while store.read_optional(&tty)?.is_some_and(|tty| tty.is_empty()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
