//! What a guest is told: the nodes that its domain gets in xenstore.

use crate::folder::Folder;
use crate::start_set;
use contract::store::{self, CHUNK_BYTES, MAX_ORDERS_BYTES, Nodes};
use files::FileError;

/// Why a guest cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The orders cannot be read.
    #[error(transparent)]
    Orders(#[from] FileError),
    /// The orders are longer than the guest reads.
    #[error("the orders have {0} bytes, more than the {MAX_ORDERS_BYTES} that the guest reads")]
    TooLarge(usize),
}

/// The nodes of what a guest is told, below the domain's own: path and value each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The further chunks of long texts, to be written first, in any way: nobody looks at them
    /// before their text's own node is there. Usually there are none.
    pub chunks: Vec<(String, String)>,
    /// The texts' own nodes.
    pub texts: Vec<(String, String)>,
}

impl Told {
    fn add(&mut self, Nodes { others, head }: Nodes) {
        self.chunks.extend(others);
        self.texts.push(head);
    }
}

/// What the guest of the app with this folder is told: its image's start set, and its orders where
/// there are any yet.
///
/// # Errors
/// The orders cannot be read, or are too large.
pub fn nodes(folder: &Folder) -> Result<Told, HandoverError> {
    let mut told = Told::default();
    if let Some(set) = start_set::read(folder) {
        told.add(store::nodes(store::START_SET, &set, CHUNK_BYTES));
    }
    if let Some(orders) = folder.read_orders()? {
        if orders.len() > MAX_ORDERS_BYTES {
            return Err(HandoverError::TooLarge(orders.len()));
        }
        told.add(store::nodes(store::ORDERS, &orders, CHUNK_BYTES));
    }
    Ok(told)
}
