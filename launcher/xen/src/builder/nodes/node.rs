//! A node, and how nodes are sent.

use crate::DomId;
use crate::paths::Home;
use crate::store::{Access, Batch, Permission, StoreError};

/// A node to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) value: String,
    pub(super) permissions: Option<Vec<Permission>>,
}

pub(super) fn plain(path: String, value: impl Into<String>) -> Node {
    Node { path, value: value.into(), permissions: None }
}

/// Permissions: dom0 owns the node, the guest may read it.
pub(super) fn readable(domid: DomId) -> Option<Vec<Permission>> {
    Some(vec![Permission::new(DomId::DOM0, Access::None), Permission::new(domid, Access::Read)])
}

pub(super) fn below_home(domid: DomId, nodes: &[(&str, &str)]) -> Vec<Node> {
    nodes.iter().map(|(name, value)| plain(Home(domid).join(name), *value)).collect()
}

pub(super) fn write_in(batch: &mut Batch<'_>, nodes: &[Node]) -> Result<(), StoreError> {
    for node in nodes {
        batch.write(&node.path, &node.value)?;
        if let Some(permissions) = &node.permissions {
            batch.set_permissions(&node.path, permissions)?;
        }
    }
    Ok(())
}
