//! Whiteouts: what a layer hides of the layers below it, wherever in the layer they stand.

use super::{Attributes, InodeId, Node, Tree, TreeError};

impl Tree {
    /// Hides what lower layers have under `name`; what this layer put there stays.
    pub(crate) fn white_out(&mut self, parent: InodeId, name: &[u8]) -> Result<(), TreeError> {
        // Whiteouts that hide nothing are not remembered: a layer may be full of them.
        let Some(link) = self.lookup(parent, name) else { return Ok(()) };
        if !self.whiteouts.insert((parent, name.into())) {
            return Ok(());
        }
        if self.inode(link.id).node.is_directory() {
            self.hide_lower(link.id)?;
        }
        self.settle(parent, name)
    }

    /// Hides all that lower layers have in `directory`.
    pub(crate) fn make_opaque(&mut self, directory: InodeId) -> Result<(), TreeError> {
        if !self.whiteouts.insert((directory, Box::default())) {
            return Ok(());
        }
        self.hide_lower(directory)
    }

    /// Takes all names of lower layers out of the tree below `top`.
    fn hide_lower(&mut self, top: InodeId) -> Result<(), TreeError> {
        // Parents first; walked backwards below, so that a directory is judged after its contents.
        let mut directories = vec![top];
        let mut next = 0;
        while let Some(&id) = directories.get(next) {
            next += 1;
            if let Node::Directory { children, .. } = &self.inode(id).node {
                let below = children.values().map(|link| link.id);
                directories.extend(below.filter(|&id| self.inode(id).node.is_directory()));
            }
        }
        for &id in directories.iter().rev() {
            let Node::Directory { children, .. } = &self.inode(id).node else { continue };
            let lower: Vec<Box<[u8]>> = children
                .iter()
                .filter(|(_, link)| link.layer < self.layer)
                .map(|(name, _)| name.clone())
                .collect();
            for name in lower {
                self.settle(id, &name)?;
            }
        }
        Ok(())
    }

    /// Removes `name` if it is a lower layer's. A lower directory in which this layer has put
    /// something stays, but as a missing parent: what described it is hidden.
    fn settle(&mut self, parent: InodeId, name: &[u8]) -> Result<(), TreeError> {
        let Some(link) = self.lookup(parent, name) else { return Ok(()) };
        if link.layer == self.layer {
            return Ok(());
        }
        match &self.inode(link.id).node {
            Node::Directory { children, .. } if !children.is_empty() => {
                self.set_attributes(link.id, Attributes::missing_directory())?;
                self.claim(parent, name);
            }
            _ => self.remove(parent, name),
        }
        Ok(())
    }
}
