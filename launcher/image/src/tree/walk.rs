//! From path components to directories: links of lower layers followed, missing parents made.

use super::node::link_bytes;
use super::{Attributes, Inode, InodeId, Link, Node, Tree, TreeError};
use crate::limits::LimitError;
use std::borrow::Cow;
use std::collections::VecDeque;

/// As many links as Linux follows on one path.
const MAX_SYMLINKS: u32 = 40;

impl Tree {
    /// The name `name` in the directory `directory`.
    pub(crate) fn lookup(&self, directory: InodeId, name: &[u8]) -> Option<Link> {
        match &self.inode(directory).node {
            Node::Directory { children, .. } => children.get(name).copied(),
            _ => None,
        }
    }

    /// The directory that `parts` lead to; missing ones are made as 0755 and root's.
    ///
    /// A symbolic link on the path is followed inside the image, as umoci and container runtimes do, whichever
    /// layer made it: real images write below `var/run` where the base or they themselves link it to `/run`.
    /// Nothing here is a file of the host, so following can lead nowhere else.
    pub(crate) fn make_directories(&mut self, parts: &[&[u8]]) -> Result<InodeId, TreeError> {
        match self.walk(parts, true)? {
            Some(id) => Ok(id),
            None => unreachable!("a walk that makes what is missing always arrives"),
        }
    }

    /// As [`Tree::make_directories`], but makes nothing: `None` when the path is not there.
    pub(crate) fn find_directory(&mut self, parts: &[&[u8]]) -> Result<Option<InodeId>, TreeError> {
        self.walk(parts, false)
    }

    fn walk(&mut self, parts: &[&[u8]], make: bool) -> Result<Option<InodeId>, TreeError> {
        let mut at = Self::ROOT;
        let mut todo: VecDeque<Cow<'_, [u8]>> = parts.iter().map(|&p| Cow::Borrowed(p)).collect();
        let mut symlinks = 0;
        // Directories on the path that are not there yet; a `..` takes them back unmade.
        let mut missing: Vec<Cow<'_, [u8]>> = Vec::new();
        while let Some(part) = todo.pop_front() {
            self.step()?;
            // Only link targets hold these two; archive names are checked before.
            match part.as_ref() {
                b"" | b"." => continue,
                b".." => {
                    if missing.pop().is_none() {
                        at = self.parent(at);
                    }
                    continue;
                }
                _ => {}
            }
            let found = if missing.is_empty() { self.lookup(at, &part) } else { None };
            let Some(link) = found else {
                missing.push(part);
                continue;
            };
            match &self.inode(link.id).node {
                Node::Directory { .. } => at = link.id,
                Node::Symlink(target) => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS {
                        return Err(TreeError::SymlinkLoop(show(&part)));
                    }
                    if target.starts_with(b"/") {
                        at = Self::ROOT;
                    }
                    for piece in target.split(|&b| b == b'/').rev() {
                        todo.push_front(Cow::Owned(piece.to_vec()));
                    }
                }
                _ => return Err(TreeError::NotADirectory(show(&part))),
            }
        }
        if !make && !missing.is_empty() {
            return Ok(None);
        }
        for part in missing {
            at = self.add_directory(at, &part, Attributes::missing_directory())?;
        }
        Ok(Some(at))
    }

    /// Whether `directory` is `top` or somewhere below it.
    pub(super) fn is_below(&self, directory: InodeId, top: InodeId) -> bool {
        let mut at = directory;
        while at != top && at != Self::ROOT {
            at = self.parent(at);
        }
        at == top
    }

    fn parent(&self, directory: InodeId) -> InodeId {
        match self.inode(directory).node {
            Node::Directory { parent, .. } => parent,
            _ => Self::ROOT,
        }
    }

    /// Makes the directory `name`, which must not exist, in `parent`.
    pub(super) fn add_directory(
        &mut self,
        parent: InodeId,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<InodeId, TreeError> {
        let depth = match &self.inode(parent).node {
            Node::Directory { depth, .. } => depth + 1,
            _ => return Err(TreeError::NotADirectory(show(name))),
        };
        LimitError::check("max_depth", depth.into(), self.max_depth.into())
            .map_err(TreeError::TooDeep)?;
        let node = Node::directory(parent, depth);
        let id = self.insert_inode(Inode { attributes, links: 0, node })?;
        self.add_link(parent, name, id)?;
        Ok(id)
    }

    /// Puts the name `name`, which must not exist, into `parent` and counts the link.
    pub(super) fn add_link(
        &mut self,
        parent: InodeId,
        name: &[u8],
        id: InodeId,
    ) -> Result<(), TreeError> {
        self.charge(link_bytes(name))?;
        let layer = self.layer;
        if let Node::Directory { children, .. } = &mut self.inode_mut(parent).node {
            children.insert(name.into(), Link { id, layer });
            self.inode_mut(id).links += 1;
        }
        Ok(())
    }
}

/// A name for a message, however odd its bytes.
pub(super) fn show(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}
