//! The merged tree of all layers so far: names and attributes in memory, contents elsewhere.

mod error;
mod node;
mod path;
mod replace;
mod walk;
mod whiteout;

pub(crate) use error::TreeError;
pub(crate) use node::{Attributes, Extent, Inode, InodeId, Link, Node, Time, Xattr};
pub(crate) use path::{PathError, components};

use crate::limits::{LimitError, Limits};
use std::collections::HashSet;

/// A file tree built from layers, bottom to top.
///
/// Inodes live in one vector; a name in a directory remembers the layer that put it there, which is
/// what lets a whiteout hide only what lower layers brought, wherever in its layer it stands.
#[derive(Debug)]
pub(crate) struct Tree {
    inodes: Vec<Option<Inode>>,
    /// Empty places in `inodes`, so that a layer replacing one file for ever costs no memory.
    vacant: Vec<InodeId>,
    /// Number of the layer being applied; the tree starts with none, so the first is 1.
    layer: u32,
    /// Estimate of the memory all names, targets and attributes take.
    metadata_bytes: u64,
    /// Places of files that no name links to any more, for the disk writer to use again.
    freed: Vec<Extent>,
    /// Whiteouts already applied in this layer; doing one again could only cost time.
    whiteouts: HashSet<(InodeId, Box<[u8]>)>,
    /// Path components looked up so far.
    steps: u64,
    max_depth: u32,
    max_metadata_bytes: u64,
    max_steps: u64,
}

impl Tree {
    /// The root directory always has this place.
    pub(crate) const ROOT: InodeId = InodeId(0);

    /// A tree that holds only a root directory as container engines make it.
    pub(crate) fn new(limits: &Limits) -> Self {
        let root = Inode {
            attributes: Attributes::missing_directory(),
            links: 1,
            node: Node::directory(Self::ROOT, 0),
        };
        Self {
            inodes: vec![Some(root)],
            vacant: Vec::new(),
            layer: 0,
            metadata_bytes: 0,
            freed: Vec::new(),
            whiteouts: HashSet::new(),
            steps: 0,
            max_depth: limits.max_depth,
            max_metadata_bytes: limits.max_metadata_bytes,
            max_steps: limits.max_steps,
        }
    }

    /// Starts the next layer: everything that is there now becomes "lower".
    pub(crate) fn begin_layer(&mut self) {
        self.layer += 1;
        self.whiteouts.clear();
    }

    /// The inode at `id`.
    ///
    /// # Panics
    /// When `id` was freed: ids do not leave the crate, so that is a fault of the tree itself.
    pub(crate) fn inode(&self, id: InodeId) -> &Inode {
        self.inodes[id.index()].as_ref().expect("a name in the tree leads to a live inode")
    }

    fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        self.inodes[id.index()].as_mut().expect("a name in the tree leads to a live inode")
    }

    /// How many places the inode vector has; ids are below it.
    pub(crate) fn places(&self) -> usize {
        self.inodes.len()
    }

    /// All inodes that are in use.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Inode> {
        self.inodes.iter().flatten()
    }

    /// Takes the list of places on disk that became unused since the last call.
    pub(crate) fn take_freed(&mut self) -> Vec<Extent> {
        std::mem::take(&mut self.freed)
    }

    fn insert_inode(&mut self, inode: Inode) -> Result<InodeId, TreeError> {
        self.charge(inode.metadata_bytes())?;
        if let Some(id) = self.vacant.pop() {
            self.inodes[id.index()] = Some(inode);
            return Ok(id);
        }
        let id = InodeId::from_index(self.inodes.len());
        self.inodes.push(Some(inode));
        Ok(id)
    }

    fn step(&mut self) -> Result<(), TreeError> {
        self.steps += 1;
        LimitError::check("max_steps", self.steps, self.max_steps).map_err(TreeError::TooManySteps)
    }

    fn charge(&mut self, bytes: u64) -> Result<(), LimitError> {
        self.metadata_bytes += bytes;
        LimitError::check("max_metadata_bytes", self.metadata_bytes, self.max_metadata_bytes)
    }

    fn refund(&mut self, bytes: u64) {
        self.metadata_bytes = self.metadata_bytes.saturating_sub(bytes);
    }
}
