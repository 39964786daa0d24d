//! Where every inode and every directory block goes, before a byte of them is written.

use super::block::BLOCK_BYTES;
use super::directory;
use super::format::{COMPACT_BYTES, DataLayout, EXTENDED_BYTES, SLOT_BYTES};
use super::xattr::SharedXattrs;
use crate::tree::{Inode, InodeId, Node, Time, Tree};
use std::collections::HashMap;

const BLOCK: usize = 4096;
/// The first slot stays empty: inode number 0 means "no file" to old readers of directories.
const FIRST_BYTE: usize = 32;
/// Partly filled blocks that a later inode may still go to.
const OPEN_BLOCKS: usize = 8;

/// Where an inode is and in what form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) nid: u64,
    pub(super) extended: bool,
    pub(super) layout: DataLayout,
    pub(super) size: u64,
    pub(super) links: u32,
    /// First of its blocks in the area of large directories and long links, if it has any there.
    pub(super) outside: u64,
}

/// The plan of a disk's metadata.
#[derive(Debug)]
pub(super) struct Layout {
    /// All inodes in the order of their numbers' assignment: a directory's contents together.
    pub(super) order: Vec<InodeId>,
    /// By the tree's index; `None` for places the tree does not use.
    places: Vec<Option<Place>>,
    pub(super) xattrs: SharedXattrs,
    /// The time compact inodes have: that of most files.
    pub(super) time: Time,
    pub(super) outside_blocks: u64,
    pub(super) inode_blocks: u64,
}

impl Layout {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut layout = Self {
            order: Vec::new(),
            places: vec![None; tree.places()],
            xattrs: SharedXattrs::default(),
            time: most_frequent_time(tree),
            outside_blocks: 0,
            inode_blocks: 0,
        };
        let mut packer = Packer::new();
        layout.assign(tree, &mut packer, Tree::ROOT);
        // A directory's files stand together right behind it: listing it with their attributes,
        // or looking up a path, reads few blocks.
        let mut todo = vec![Tree::ROOT];
        while let Some(id) = todo.pop() {
            let Node::Directory { children, .. } = &tree.inode(id).node else { continue };
            let first_below = todo.len();
            for link in children.values() {
                if layout.places[link.id.index()].is_none() {
                    layout.assign(tree, &mut packer, link.id);
                }
                if tree.inode(link.id).node.is_directory() {
                    todo.push(link.id);
                }
            }
            todo[first_below..].reverse();
        }
        layout.inode_blocks = packer.blocks;
        layout
    }

    /// The place of an inode of the tree.
    pub(super) fn place(&self, id: InodeId) -> Place {
        self.places[id.index()].expect("every inode in the tree has a name and so was visited")
    }

    fn assign(&mut self, tree: &Tree, packer: &mut Packer, id: InodeId) {
        let inode = tree.inode(id);
        self.xattrs.add(id, &inode.attributes.xattrs);
        let size = size_of(inode);
        let links = links_of(tree, inode);
        let extended = needs_extended(inode, size, links, self.time);
        let head =
            if extended { EXTENDED_BYTES } else { COMPACT_BYTES } + self.xattrs.body_bytes(id);
        let mut layout = DataLayout::Plain;
        let mut bytes = head;
        let mut outside = 0;
        if matches!(inode.node, Node::Directory { .. } | Node::Symlink(_)) {
            // Never 0: names and link targets are not empty, and directories hold `.`.
            let tail = usize::try_from((size - 1) % BLOCK_BYTES + 1).unwrap_or(BLOCK);
            let mut blocks = size.div_ceil(BLOCK_BYTES);
            // The kernel wants the tail in one block; with its inode there too, a lookup or a
            // readlink reads that block only.
            if head + tail <= BLOCK - FIRST_BYTE {
                layout = DataLayout::Inline;
                bytes += tail;
                blocks -= 1;
            }
            outside = self.outside_blocks;
            self.outside_blocks += blocks;
        }
        let nid = packer.take(bytes) / SLOT_BYTES;
        self.places[id.index()] = Some(Place { nid, extended, layout, size, links, outside });
        self.order.push(id);
    }
}

/// The time that the most files have; of equals the earliest.
///
/// A compact inode has no time of its own but the superblock's, and is half as large. Where a
/// builder gave all files one time, nearly all inodes are compact.
fn most_frequent_time(tree: &Tree) -> Time {
    let mut counts: HashMap<Time, u64> = HashMap::new();
    for inode in tree.live() {
        *counts.entry(inode.attributes.mtime).or_default() += 1;
    }
    let most = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    most.map(|(time, _)| time).unwrap_or_default()
}

fn needs_extended(inode: &Inode, size: u64, links: u32, time: Time) -> bool {
    let attributes = &inode.attributes;
    let small = u32::from(u16::MAX);
    attributes.mtime != time
        || attributes.uid > small
        || attributes.gid > small
        || links > small
        || size > u64::from(u32::MAX)
}

/// What `stat` shows as the number of links.
fn links_of(tree: &Tree, inode: &Inode) -> u32 {
    match &inode.node {
        // Its name, its own `.`, and the `..` of each directory in it.
        Node::Directory { children, .. } => children
            .values()
            .filter(|link| tree.inode(link.id).node.is_directory())
            .fold(2, |count, _| count + 1),
        _ => inode.links,
    }
}

fn size_of(inode: &Inode) -> u64 {
    match &inode.node {
        Node::Directory { children, .. } => {
            directory::size(with_dots(children.keys().map(|name| &**name)))
        }
        Node::File(extent) => extent.bytes,
        Node::Symlink(target) => target.len() as u64,
        _ => 0,
    }
}

/// Puts `.` and `..` at their places among sorted names: not always first, `!` sorts before them.
pub(super) fn with_dots<'a>(
    names: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    let mut dots = [&b"."[..], b".."].into_iter().peekable();
    let mut names = names.peekable();
    std::iter::from_fn(move || match (dots.peek(), names.peek()) {
        (Some(dot), Some(name)) if name < dot => names.next(),
        (Some(_), _) => dots.next(),
        (None, _) => names.next(),
    })
}

/// Packs inodes into blocks; none crosses a block.
struct Packer {
    /// Number and used bytes of blocks with room.
    open: Vec<(u64, usize)>,
    blocks: u64,
}

impl Packer {
    fn new() -> Self {
        Self { open: vec![(0, FIRST_BYTE)], blocks: 1 }
    }

    /// Finds room for `bytes`, at most a block less the first slot, and returns its place in bytes.
    fn take(&mut self, bytes: usize) -> u64 {
        let bytes = bytes.next_multiple_of(COMPACT_BYTES);
        let fits = self.open.iter().position(|(_, used)| used + bytes <= BLOCK);
        let at = fits.unwrap_or_else(|| {
            if self.open.len() == OPEN_BLOCKS {
                let fullest = (0..OPEN_BLOCKS).max_by_key(|&at| self.open[at].1).unwrap_or(0);
                self.open.remove(fullest);
            }
            self.open.push((self.blocks, 0));
            self.blocks += 1;
            self.open.len() - 1
        });
        let (block, used) = &mut self.open[at];
        let place = *block * BLOCK_BYTES + *used as u64;
        *used += bytes;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dots_stand_where_their_bytes_sort() {
        let names = [&b"!"[..], b"-", b".a", b"/x", b"a"];
        let all: Vec<&[u8]> = with_dots(names.into_iter()).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(all, sorted);
        assert_eq!(all.len(), 7);
        assert_eq!(with_dots(std::iter::empty()).count(), 2);
    }

    #[test]
    fn gaps_are_filled_and_no_inode_crosses_a_block() {
        let mut packer = Packer::new();
        assert_eq!(packer.take(64), 32);
        assert_eq!(packer.take(4064), 4096);
        assert_eq!(packer.take(33), 96);
        assert_eq!(packer.take(3968), 2 * 4096);
        assert_eq!(packer.take(64), 160);
        assert_eq!(packer.blocks, 3);
    }
}
