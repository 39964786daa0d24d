//! Device names that both sides use, each written once.

/// Virtual device of the read-only root disk (EROFS).
pub const ROOT_DISK: &str = "xvda";
/// Virtual device of the writable layer (ext4), if the app has one on a disk.
pub const WRITABLE_DISK: &str = "xvdb";
/// Folder of the writable layer with what was written; the guest makes it if it is missing.
pub const LAYER_FOLDER: &str = "upper";
/// Folder of the writable layer that overlayfs works in; likewise. It is empty until the layer is
/// mounted for the first time.
pub const SCRATCH_FOLDER: &str = "work";
/// The guest's only network interface.
pub const INTERFACE: &str = "eth0";
