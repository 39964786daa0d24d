//! The nodes in xenstore that tell a guest what to do when it starts.

use contract::store::{self, CHUNK_BYTES, Nodes};
use files::{Durability, FileError, read_json, write_json};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::{fs, io};

/// The file beside a domain's root disk in which [`crate::hotplug`] finds the domain's nodes.
const FILE: &str = "guest-nodes.json";
/// The file of earlier versions, which holds only the orders.
const ORDERS_FILE: &str = "orders.json";

/// Nodes below a domain's own folder, which its guest may read: a path and a value for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestNodes {
    /// The further chunks of long texts, usually none. They must be written first, because the guest reads them as soon
    /// as the text's own node exists.
    pub chunks: Vec<(String, String)>,
    /// The texts' own nodes.
    pub texts: Vec<(String, String)>,
}

impl GuestNodes {
    /// Adds one text.
    pub fn add(&mut self, Nodes { others, head }: Nodes) {
        self.chunks.extend(others);
        self.texts.push(head);
    }

    /// Writes the nodes for [`crate::hotplug`] into `folder`, where the domain's root disk is.
    ///
    /// # Errors
    /// The file system fails, e.g. because the disk is full.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        write_json(&folder.join(FILE), self, Durability::Crash)
    }

    /// Reads the nodes of the domain whose root disk is in `folder`. If only an older version's orders exist, reads
    /// those. Without a file, as beside a disk that `launch` did not make, there are no nodes.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        match read_json(&folder.join(FILE)) {
            Err(error) if error.is_not_found() => {}
            read => return read,
        }
        let path = folder.join(ORDERS_FILE);
        let mut nodes = Self::default();
        match fs::read_to_string(&path) {
            Ok(orders) => nodes.add(store::nodes(store::ORDERS, &orders, CHUNK_BYTES)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::io("read", &path)(error)),
        }
        Ok(nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read_as_they_were_written_beside_the_root_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut nodes = GuestNodes::default();
        nodes.add(store::nodes(store::ORDERS, &"x".repeat(5000), CHUNK_BYTES));
        assert!(!nodes.chunks.is_empty());
        nodes.write(folder.path()).unwrap();
        fs::write(folder.path().join(ORDERS_FILE), "older").unwrap();
        assert_eq!(GuestNodes::read(folder.path()).unwrap(), nodes);
    }

    #[test]
    fn a_disk_without_nodes_has_none_and_one_of_an_older_version_has_its_orders() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(GuestNodes::read(folder.path()).unwrap(), GuestNodes::default());
        fs::write(folder.path().join(ORDERS_FILE), "{}").unwrap();
        let nodes = GuestNodes::read(folder.path()).unwrap();
        assert_eq!(nodes.texts, [store::nodes(store::ORDERS, "{}", CHUNK_BYTES).head]);
        fs::write(folder.path().join(FILE), "[").unwrap();
        let error = GuestNodes::read(folder.path()).unwrap_err();
        assert!(error.is_damaged(), "{error}");
    }
}
