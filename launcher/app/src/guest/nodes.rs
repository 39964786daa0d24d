//! The nodes that tell a guest what to do: dom0 writes them into xenstore with the domain.

use crate::apps::Apps;
use crate::error::AppsError;
use crate::record::app::Record;
use crate::request::domain::Link;
use crate::request::orders::{check_orders_size, render_orders};
use crate::storage::start_set;
use crate::store::folder::{self, Folder};
use crate::store::ids::random;
use contract::store::{self, CHUNK_BYTES};
use toolstack::GuestNodes;

/// The nodes for the guest of an app at one start: its image's start set and its orders. Also writes the orders into
/// the app's folder, for people to read.
///
/// # Errors
/// The orders exceed the guest's limit, or cannot be written.
pub(crate) fn guest_nodes(
    apps: &Apps,
    folder: &Folder,
    record: &Record,
    link: Option<&Link>,
) -> Result<GuestNodes, AppsError> {
    let seed = random::<32>()?;
    let orders = render_orders(record, link, &apps.network.resolver(), &seed);
    check_orders_size(&orders)?;
    let orders = orders.render();
    folder.write_lightly(folder::ORDERS, orders.as_bytes())?;
    let mut nodes = start_set_nodes(folder);
    nodes.add(store::nodes(store::ORDERS, &orders, CHUNK_BYTES));
    Ok(nodes)
}

/// The nodes for the guest of a pooled domain: the start set of its image, if the domain already has one.
pub(crate) fn start_set_nodes(folder: &Folder) -> GuestNodes {
    let mut nodes = GuestNodes::default();
    if let Some(set) = start_set::read(folder) {
        nodes.add(store::nodes(store::START_SET, &set, CHUNK_BYTES));
    }
    nodes
}
