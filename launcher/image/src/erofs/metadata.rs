//! Writes all but the contents of files: superblock, directories, attributes, inodes.

use super::block::{BLOCK_BYTES, blocks};
use super::directory::{self, Dirent};
use super::format::{
    DataLayout, InodeFields, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, SLOT_BYTES,
    Superblock, device_number, dirent_type,
};
use super::layout::{Layout, Place, with_dots};
use crate::limits::LimitError;
use crate::tree::{Inode, InodeId, Node, Tree};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Why metadata could not be written.
#[derive(Debug)]
pub(crate) enum MetadataError {
    Write(io::Error),
    Limit(LimitError),
}

impl From<io::Error> for MetadataError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Sizes of a finished disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) blocks: u64,
    pub(crate) inodes: u64,
}

/// Writes the metadata of `tree` from block `first` of `disk` on, and the superblock.
pub(crate) fn write_metadata(
    tree: &Tree,
    disk: &File,
    first: u64,
    max_bytes: u64,
) -> Result<Written, MetadataError> {
    let layout = Layout::of(tree);
    let xattr_block = first + layout.outside_blocks;
    let meta_block = xattr_block + blocks(layout.xattrs.area().len() as u64);
    let end = meta_block + layout.inode_blocks;
    let max_bytes = max_bytes.min(u64::from(u32::MAX) * BLOCK_BYTES);
    LimitError::check("max_disk_bytes", end * BLOCK_BYTES, max_bytes)
        .map_err(MetadataError::Limit)?;
    let writer = Writer { tree, layout: &layout, first };
    let (outside, inodes) = writer.render();
    disk.write_all_at(&outside, first * BLOCK_BYTES)?;
    disk.write_all_at(layout.xattrs.area(), xattr_block * BLOCK_BYTES)?;
    disk.write_all_at(&inodes, meta_block * BLOCK_BYTES)?;
    disk.set_len(end * BLOCK_BYTES)?;
    let superblock = Superblock {
        // The root is the first inode assigned, so its number is tiny.
        root: u16::try_from(layout.place(Tree::ROOT).nid).unwrap_or(u16::MAX),
        inodes: layout.order.len() as u64,
        time: layout.time,
        blocks: block_number(end),
        meta_block: block_number(meta_block),
        xattr_block: block_number(xattr_block),
    };
    disk.write_all_at(&superblock.to_block(), 0)?;
    Ok(Written { blocks: end, inodes: superblock.inodes })
}

/// A block number as the disk holds it; `max_disk_bytes` was checked against 32 bits of blocks.
fn block_number(block: u64) -> u32 {
    u32::try_from(block).unwrap_or(u32::MAX)
}

struct Writer<'a> {
    tree: &'a Tree,
    layout: &'a Layout,
    first: u64,
}

impl Writer<'_> {
    /// The blocks of large directories and long links, and the blocks of inodes.
    fn render(&self) -> (Vec<u8>, Vec<u8>) {
        let bytes = |blocks: u64| usize::try_from(blocks * BLOCK_BYTES).unwrap_or(usize::MAX);
        let mut outside = vec![0; bytes(self.layout.outside_blocks)];
        let mut inodes = vec![0; bytes(self.layout.inode_blocks)];
        for (&id, ino) in self.layout.order.iter().zip(1..) {
            let inode = self.tree.inode(id);
            let place = self.layout.place(id);
            let at = usize::try_from(place.nid * SLOT_BYTES).unwrap_or(usize::MAX);
            let out = &mut inodes[at..];
            let (head, out) = out.split_at_mut(if place.extended { 64 } else { 32 });
            self.fields(id, inode, place, ino).write(head);
            let (body, out) = out.split_at_mut(self.layout.xattrs.body_bytes(id));
            self.layout.xattrs.write_body(id, body);
            let contents = match &inode.node {
                Node::Directory { .. } => self.render_directory(id),
                Node::Symlink(target) => target.to_vec(),
                _ => continue,
            };
            let mut whole = contents.len();
            if place.layout == DataLayout::Inline {
                whole = (whole - 1) / 4096 * 4096;
                out[..contents.len() - whole].copy_from_slice(&contents[whole..]);
            }
            let at = bytes(place.outside);
            outside[at..at + whole].copy_from_slice(&contents[..whole]);
        }
        (outside, inodes)
    }

    fn fields(&self, id: InodeId, inode: &Inode, place: Place, ino: u32) -> InodeFields {
        let outside = block_number(self.first + place.outside);
        let union = match &inode.node {
            Node::Directory { .. } | Node::Symlink(_) => outside,
            Node::File(extent) => block_number(extent.block),
            Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
                device_number(*major, *minor)
            }
            Node::Fifo => 0,
        };
        let attributes = &inode.attributes;
        InodeFields {
            extended: place.extended,
            layout: place.layout,
            xattr_ids: self.layout.xattrs.count(id),
            mode: mode(inode),
            links: place.links,
            size: place.size,
            union,
            ino,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime: attributes.mtime,
        }
    }

    fn render_directory(&self, id: InodeId) -> Vec<u8> {
        let Node::Directory { parent, children, .. } = &self.tree.inode(id).node else {
            return Vec::new();
        };
        let names = with_dots(children.keys().map(|name| &**name));
        let entries: Vec<Dirent<'_>> = names
            .map(|name| {
                let target = match name {
                    b"." => id,
                    b".." => *parent,
                    _ => children.get(name).map_or(id, |link| link.id),
                };
                let file_type = dirent_type(mode(self.tree.inode(target)));
                Dirent { name, nid: self.layout.place(target).nid, file_type }
            })
            .collect();
        directory::render(&entries)
    }
}

/// `st_mode`: kind and permissions.
fn mode(inode: &Inode) -> u16 {
    let kind = match &inode.node {
        Node::Directory { .. } => S_IFDIR,
        Node::File(_) => S_IFREG,
        Node::Symlink(_) => S_IFLNK,
        Node::CharDevice { .. } => S_IFCHR,
        Node::BlockDevice { .. } => S_IFBLK,
        Node::Fifo => S_IFIFO,
    };
    kind | inode.attributes.mode
}
