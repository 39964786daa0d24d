//! Limits on what one image may cost to fetch and convert, as settings.

use serde::{Deserialize, Serialize};

/// The kernel's own bound on shared attributes of one inode (`EROFS_MAX_SHARED_XATTRS`).
pub(crate) const MAX_XATTRS: u32 = 128;

/// Limits on what the layers of one image may use.
///
/// An image is not trusted. Each of these stops a small download from becoming a large bill in
/// disk, memory or time; the error names the field to raise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Layers, in a registry or an archive. Overlay file systems end far below the default.
    pub max_layers: u32,
    /// Uncompressed bytes of all layers together.
    pub max_image_bytes: u64,
    /// Uncompressed bytes of one layer, padding and trailer included.
    pub max_layer_bytes: u64,
    /// Size of the finished guest disk, holes of sparse files included. EROFS itself ends at 16 TiB.
    pub max_disk_bytes: u64,
    /// Tar entries of all layers together, whiteouts and replaced files included.
    pub max_entries: u64,
    /// Bytes of free space that converting leaves on the file system of the guest disk, or a
    /// twentieth of that file system if that is less.
    pub min_free_bytes: u64,
    /// Bytes of memory of the process that fetches and converts. The kernel enforces it
    /// (`RLIMIT_DATA`): heap and stacks, not the program itself.
    pub max_memory_bytes: u64,
    /// Names, link targets and attributes of the image, in bytes, estimated by what each takes
    /// while the disk is written. A large tree reaches this before `max_memory_bytes`, and the
    /// error can then name the entry.
    pub max_metadata_bytes: u64,
    /// Seconds from the first request to the finished disk, without waiting for another process
    /// that makes the same image.
    pub max_seconds: u64,
    /// Path components looked up, those of symbolic links' targets included. A small layer can
    /// ask for thousands with each entry.
    pub max_steps: u64,
    /// Directories below one another.
    pub max_depth: u32,
    /// Length of one path in an archive. Linux itself takes 4095.
    pub max_path_bytes: u32,
    /// Size of one PAX header or GNU long name. Docker's own parser stops at 1 MiB.
    pub max_pax_bytes: u64,
    /// Extended attributes of one file, names and values together.
    pub max_xattr_bytes: u32,
    /// Number of extended attributes of one file; at most 128 fit in EROFS.
    pub max_xattrs: u32,
    /// Data runs of one sparse file.
    pub max_sparse_runs: u32,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: u32 = 1 << 10;
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        Self {
            max_layers: 1000,
            max_image_bytes: 256 * GIB,
            max_layer_bytes: 64 * GIB,
            max_disk_bytes: 128 * GIB,
            max_entries: 4_000_000,
            min_free_bytes: GIB,
            max_memory_bytes: GIB,
            max_metadata_bytes: 768 * MIB,
            max_seconds: 12 * 3600,
            max_steps: 1_000_000_000,
            max_depth: 256,
            max_path_bytes: 4095,
            max_pax_bytes: MIB,
            max_xattr_bytes: 256 * KIB,
            max_xattrs: 64,
            max_sparse_runs: 1 << 18,
        }
    }
}

/// A cap that an image went past.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {allowed}; raise {name} under [image.limits] if you trust the image")]
pub struct LimitError {
    /// The field of [`Limits`].
    pub name: &'static str,
    /// What that field allows.
    pub allowed: u64,
}

impl LimitError {
    /// An error about the field `name` when `value` is past `allowed`.
    pub(crate) fn check(name: &'static str, value: u64, allowed: u64) -> Result<(), Self> {
        if value > allowed { Err(Self { name, allowed }) } else { Ok(()) }
    }
}
