//! Writes the orders for a guest.

use crate::record::app::Record;
use crate::record::writable_choice::WritableChoice;
use crate::request::domain::Link;
use crate::request::error::ResolveError;
use contract::{Neighbour, Orders, Root, Writable};

/// Checks that the orders do not exceed the guest's limit.
///
/// # Errors
/// They exceed it.
pub(crate) fn check_orders_size(orders: &Orders) -> Result<(), ResolveError> {
    match orders.render().len() {
        bytes if bytes > contract::store::MAX_ORDERS_BYTES => {
            Err(ResolveError::OrdersTooLarge { bytes })
        }
        _ => Ok(()),
    }
}

/// The orders for one start of an app.
#[must_use]
pub(crate) fn render_orders(
    record: &Record,
    link: Option<&Link>,
    resolver: &net::Resolver,
    seed: &[u8],
) -> Orders {
    Orders {
        version: contract::VERSION,
        hostname: record.hostname.clone(),
        root: Root {
            writable: match record.writable {
                WritableChoice::Disk => Writable::Disk,
                WritableChoice::Memory => Writable::Memory { max_bytes: 0 },
                WritableChoice::Nothing => Writable::Nothing,
            },
        },
        process: record.process.clone(),
        network: link.map(|link| contract::Network {
            address: link.lease.address,
            prefix: link.lease.prefix,
            gateway: link.lease.gateway,
            neighbours: (link.lease.gateway)
                .zip(link.gateway_mac)
                .map(|(address, mac)| Neighbour { address, mac })
                .into_iter()
                .collect(),
            dns: if record.dns.is_empty() { resolver.servers.clone() } else { record.dns.clone() },
            search: match record.dns_search.is_empty() {
                true => resolver.search.clone(),
                false => record.dns_search.clone(),
            },
        }),
        hosts: record.hosts.clone(),
        tmpfs: record.tmpfs.clone(),
        sysctls: record.sysctls.clone(),
        seed: hex::encode(seed),
        // The guest gets the time from Xen; a time written here would be seconds old when the guest reads it.
        unix_time: 0,
    }
}
