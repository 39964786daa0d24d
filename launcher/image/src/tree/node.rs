//! What the tree knows of one file: kind, attributes, and where its contents are.

use std::collections::BTreeMap;

/// Index of an inode in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InodeId(pub(super) u32);

impl InodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    #[cfg(test)]
    pub(crate) fn test(index: u32) -> Self {
        Self(index)
    }

    pub(super) fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("max_entries keeps the tree below 2^32 inodes"))
    }
}

/// A point in time; nanoseconds count upwards from the second, also before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// One extended attribute; `name` is the full one, as `security.capability`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Xattr {
    pub(crate) name: Box<[u8]>,
    pub(crate) value: Box<[u8]>,
}

/// All that `stat` and `listxattr` show besides kind and size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits with setuid, setgid and sticky: the lower 12 bits of `st_mode`.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Sorted by name, each name once. Most files have none; then this allocates nothing.
    pub(crate) xattrs: Vec<Xattr>,
}

impl Attributes {
    /// A directory that an archive needs and does not describe: 0755, root's, and of a fixed time,
    /// so that the same layers always give the same disk.
    pub(crate) fn missing_directory() -> Self {
        Self { mode: 0o755, ..Self::default() }
    }
}

/// Where a file's contents lie on the guest disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First 4 KiB block; of no meaning when the file is empty.
    pub(crate) block: u64,
    pub(crate) bytes: u64,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) id: InodeId,
    /// The layer that last put something under this name.
    pub(crate) layer: u32,
}

/// The kind of a file and what goes with it.
#[derive(Debug)]
pub(crate) enum Node {
    Directory { parent: InodeId, depth: u32, children: BTreeMap<Box<[u8]>, Link> },
    File(Extent),
    Symlink(Box<[u8]>),
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

impl Node {
    pub(super) fn directory(parent: InodeId, depth: u32) -> Self {
        Self::Directory { parent, depth, children: BTreeMap::new() }
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

/// A file of any kind.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) attributes: Attributes,
    /// Names that lead here; a directory has one, its `.` and `..` are not counted.
    pub(crate) links: u32,
    pub(crate) node: Node,
}

impl Inode {
    /// About what this inode costs in memory while the disk is written, its own directory entries
    /// apart.
    pub(super) fn metadata_bytes(&self) -> u64 {
        // Besides the inode itself: its place on the disk, its number, and its bytes as written.
        const EACH: usize = size_of::<Option<Inode>>() + 64 + 8 + 64;
        let rest = match &self.node {
            // In memory, and as written.
            Node::Symlink(target) => 2 * allocation(target.len()),
            Node::Directory { .. } => MAP_NODE_BYTES,
            _ => 0,
        };
        (EACH + rest + xattr_bytes(&self.attributes.xattrs)) as u64
    }
}

/// The first node of a directory's map, which is there for a single entry too.
const MAP_NODE_BYTES: usize = allocation(16 + 11 * size_of::<(Box<[u8]>, Link)>());

/// What the allocator takes for `bytes`.
const fn allocation(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}

pub(super) fn xattr_bytes(xattrs: &[Xattr]) -> usize {
    let each = |xattr: &Xattr| {
        let (name, value) = (xattr.name.len(), xattr.value.len());
        // In the tree; then in the map of distinct ones, and twice in the area of the disk, which
        // grows by doubling.
        size_of::<Xattr>() + allocation(name) + allocation(value) + 3 * (name + value) + 64
    };
    xattrs.iter().map(each).sum()
}

/// About what a directory entry costs in memory: in the map, whose nodes are half full at worst,
/// and as written.
pub(super) fn link_bytes(name: &[u8]) -> u64 {
    const EACH: usize = 2 * size_of::<(Box<[u8]>, Link)>() + 12;
    (EACH + allocation(name.len()) + name.len()) as u64
}
