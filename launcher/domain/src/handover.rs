//! What a guest is told: the nodes that its domain gets in xenstore.

use crate::folder::{FileError, Folder};
use crate::start_set;
use contract::store::{self as nodes, CHUNK_BYTES};

/// Why a guest cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The orders cannot be read.
    #[error(transparent)]
    Orders(#[from] FileError),
    /// The orders are longer than the guest reads.
    #[error("the orders are too large for the guest")]
    TooLarge,
}

/// The nodes for the guest of the app with this folder, below the domain's own: its orders where
/// there are any yet, and its image's start set.
///
/// # Errors
/// The orders cannot be read, or are too large.
pub fn nodes(folder: &Folder) -> Result<Vec<(String, String)>, HandoverError> {
    let mut all = Vec::new();
    if let Some(set) = start_set::read(folder) {
        all.extend(nodes::nodes(nodes::START_SET, &set, CHUNK_BYTES).unwrap_or_default());
    }
    if let Some(orders) = folder.read_orders()? {
        let orders = nodes::nodes(nodes::ORDERS, &orders, CHUNK_BYTES);
        all.extend(orders.ok_or(HandoverError::TooLarge)?);
    }
    Ok(all)
}
