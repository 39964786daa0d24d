//! Adding entries: a directory over a directory merges, anything else replaces.

use super::node::{link_bytes, xattr_bytes};
use super::walk::show;
use super::{Attributes, Inode, InodeId, Node, Tree, TreeError};

impl Tree {
    /// Makes `name` in `parent` a directory, or gives new attributes to the one that is there.
    pub(crate) fn put_directory(
        &mut self,
        parent: InodeId,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<(), TreeError> {
        match self.lookup(parent, name) {
            Some(link) if self.inode(link.id).node.is_directory() => {
                self.set_attributes(link.id, attributes)?;
                self.claim(parent, name);
            }
            _ => {
                self.remove(parent, name);
                self.add_directory(parent, name, attributes)?;
            }
        }
        Ok(())
    }

    /// Gives the root directory new attributes.
    pub(crate) fn set_root(&mut self, attributes: Attributes) -> Result<(), TreeError> {
        self.set_attributes(Self::ROOT, attributes)
    }

    /// Puts a file that is not a directory under `name`, in place of whatever is there.
    pub(crate) fn put(
        &mut self,
        parent: InodeId,
        name: &[u8],
        node: Node,
        attributes: Attributes,
    ) -> Result<(), TreeError> {
        self.remove(parent, name);
        let id = self.insert_inode(Inode { attributes, links: 0, node })?;
        self.add_link(parent, name, id)
    }

    /// Gives the file at `target` the further name `name` in `parent`.
    ///
    /// The entry's own mode and owner are not used: it is the same file, as GNU tar and umoci see it.
    pub(crate) fn put_hard_link(
        &mut self,
        parent: InodeId,
        name: &[u8],
        target: &[&[u8]],
    ) -> Result<(), TreeError> {
        let wanted = || show(&target.join(&b'/'));
        let Some((last, directories)) = target.split_last() else {
            return Err(TreeError::LinkToDirectory("/".to_owned()));
        };
        let directory = self
            .find_directory(directories)?
            .ok_or_else(|| TreeError::LinkTargetMissing(wanted()))?;
        let found =
            self.lookup(directory, last).ok_or_else(|| TreeError::LinkTargetMissing(wanted()))?;
        if self.inode(found.id).node.is_directory() {
            return Err(TreeError::LinkToDirectory(wanted()));
        }
        if (directory, *last) == (parent, name) {
            return Err(TreeError::LinkToItself);
        }
        if let Some(replaced) = self.lookup(parent, name) {
            if self.is_below(directory, replaced.id) {
                return Err(TreeError::LinkTargetMissing(wanted()));
            }
        }
        self.remove(parent, name);
        self.add_link(parent, name, found.id)
    }

    /// Takes `name` and all below it out of `parent`.
    pub(crate) fn remove(&mut self, parent: InodeId, name: &[u8]) {
        let Node::Directory { children, .. } = &mut self.inode_mut(parent).node else { return };
        let Some(link) = children.remove(name) else { return };
        self.refund(link_bytes(name));
        self.unlink(link.id);
    }

    /// Drops one link of `id`, and the inode with all below it when that was the last.
    fn unlink(&mut self, id: InodeId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let inode = self.inode_mut(id);
            inode.links -= 1;
            if inode.links > 0 {
                continue;
            }
            let Some(inode) = self.inodes[id.index()].take() else { continue };
            self.refund(inode.metadata_bytes());
            self.vacant.push(id);
            match inode.node {
                Node::Directory { children, .. } => {
                    for (name, link) in children {
                        self.refund(link_bytes(&name));
                        todo.push(link.id);
                    }
                }
                Node::File(extent) if extent.bytes > 0 => self.freed.push(extent),
                _ => {}
            }
        }
    }

    /// Marks `name` as this layer's.
    pub(super) fn claim(&mut self, parent: InodeId, name: &[u8]) {
        let layer = self.layer;
        if let Node::Directory { children, .. } = &mut self.inode_mut(parent).node {
            if let Some(link) = children.get_mut(name) {
                link.layer = layer;
            }
        }
    }

    pub(super) fn set_attributes(
        &mut self,
        id: InodeId,
        attributes: Attributes,
    ) -> Result<(), TreeError> {
        self.charge(xattr_bytes(&attributes.xattrs) as u64)?;
        let old = std::mem::replace(&mut self.inode_mut(id).attributes, attributes);
        self.refund(xattr_bytes(&old.xattrs) as u64);
        Ok(())
    }
}
