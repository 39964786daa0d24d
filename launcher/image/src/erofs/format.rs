//! On-disk structures of EROFS and their bytes. Source: Linux `fs/erofs/erofs_fs.h`.

use super::checksum::crc32c;
use crate::tree::Time;

pub(super) const SUPERBLOCK_OFFSET: usize = 1024;
pub(super) const SUPERBLOCK_MAGIC: u32 = 0xe0f5_e1e2;
const FEATURE_COMPAT_SB_CHKSUM: u32 = 1;
/// Times of inodes are mtime, not ctime.
const FEATURE_COMPAT_MTIME: u32 = 2;
const BLOCK_BITS: u8 = 12;

/// Inodes start on multiples of this; an inode's number is its place in these units.
pub(super) const SLOT_BYTES: u64 = 32;
pub(super) const COMPACT_BYTES: usize = 32;
pub(super) const EXTENDED_BYTES: usize = 64;
pub(super) const DIRENT_BYTES: usize = 12;

pub(super) const S_IFIFO: u16 = 0o010_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
pub(super) const S_IFDIR: u16 = 0o040_000;
pub(super) const S_IFBLK: u16 = 0o060_000;
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFLNK: u16 = 0o120_000;

/// `file_type` of a directory entry: the kernel's `FT_*`.
pub(super) fn dirent_type(mode: u16) -> u8 {
    match mode & 0o170_000 {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFLNK => 7,
        _ => 0,
    }
}

/// How the contents of an inode are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataLayout {
    /// All in whole blocks (`EROFS_INODE_FLAT_PLAIN`).
    Plain = 0,
    /// The last, partial block stands behind the inode (`EROFS_INODE_FLAT_INLINE`).
    Inline = 2,
}

/// The fields of an inode; [`InodeFields::write`] chooses the form.
#[derive(Debug)]
pub(super) struct InodeFields {
    pub(super) extended: bool,
    pub(super) layout: DataLayout,
    pub(super) xattr_ids: usize,
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) size: u64,
    /// First block of the contents, or the number of a device.
    pub(super) union: u32,
    pub(super) ino: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
}

impl InodeFields {
    /// Writes the inode; `out` is 32 or 64 bytes, as `extended` says.
    ///
    /// The caller has made sure that a compact inode's owner, size and links fit.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn write(&self, out: &mut [u8]) {
        let format = ((self.layout as u16) << 1) | u16::from(self.extended);
        // The count of 4-byte units behind the 12-byte attribute header, plus one; 0 for none.
        let xattr_count = if self.xattr_ids == 0 { 0 } else { self.xattr_ids as u16 + 1 };
        put(out, 0, &format.to_le_bytes());
        put(out, 2, &xattr_count.to_le_bytes());
        put(out, 4, &self.mode.to_le_bytes());
        put(out, 16, &self.union.to_le_bytes());
        put(out, 20, &self.ino.to_le_bytes());
        if self.extended {
            put(out, 8, &self.size.to_le_bytes());
            put(out, 24, &self.uid.to_le_bytes());
            put(out, 28, &self.gid.to_le_bytes());
            put(out, 32, &self.mtime.seconds.to_le_bytes());
            put(out, 40, &self.mtime.nanoseconds.to_le_bytes());
            put(out, 44, &self.links.to_le_bytes());
        } else {
            put(out, 6, &(self.links as u16).to_le_bytes());
            put(out, 8, &(self.size as u32).to_le_bytes());
            put(out, 24, &(self.uid as u16).to_le_bytes());
            put(out, 26, &(self.gid as u16).to_le_bytes());
        }
    }
}

/// A device number as inodes hold it (`new_encode_dev`).
pub(super) fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The fields of the superblock.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) root: u16,
    pub(super) inodes: u64,
    /// The time of all compact inodes.
    pub(super) time: Time,
    pub(super) blocks: u32,
    pub(super) meta_block: u32,
    pub(super) xattr_block: u32,
}

impl Superblock {
    /// The first block of the disk. The volume has no name, and a UUID of zeros: what tells disks
    /// apart is the image's digest, and equal images should be equal byte for byte.
    pub(super) fn to_block(&self) -> Vec<u8> {
        let mut block = vec![0; 4096];
        let out = &mut block[SUPERBLOCK_OFFSET..];
        put(out, 0, &SUPERBLOCK_MAGIC.to_le_bytes());
        put(out, 8, &(FEATURE_COMPAT_SB_CHKSUM | FEATURE_COMPAT_MTIME).to_le_bytes());
        out[12] = BLOCK_BITS;
        put(out, 14, &self.root.to_le_bytes());
        put(out, 16, &self.inodes.to_le_bytes());
        put(out, 24, &self.time.seconds.to_le_bytes());
        put(out, 32, &self.time.nanoseconds.to_le_bytes());
        put(out, 36, &self.blocks.to_le_bytes());
        put(out, 40, &self.meta_block.to_le_bytes());
        put(out, 44, &self.xattr_block.to_le_bytes());
        let sum = crc32c(out);
        put(out, 4, &sum.to_le_bytes());
        block
    }
}

pub(super) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}
