//! The guest disk: one uncompressed, read-only EROFS image.
//!
//! Layout of the disk, in 4 KiB blocks:
//!
//! ```text
//! 0            superblock at byte 1024
//! 1..          contents of files, in the order the layers brought them
//! then         blocks of large directories and of symbolic links too long for an inode's block
//! then         shared extended attributes
//! then         inodes, each with its small directory or link target behind it
//! ```
//!
//! Contents come first because they are written while layers stream in and metadata is known only
//! at the end. Readable by Linux 5.4 and newer: no incompatible feature is used.
//!
//! Source of the format: Linux `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.

mod block;
mod checksum;
mod data;
mod directory;
mod format;
mod layout;
mod metadata;
mod space;
mod xattr;

pub(crate) use data::{DataArea, DataError};
pub(crate) use metadata::{MetadataError, write_metadata};
