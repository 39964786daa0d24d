//! Device names that both sides use, each written once.

/// Virtual device of the read-only root disk (EROFS).
pub const ROOT_DISK: &str = "xvda";
/// Virtual device of the writable layer (ext4), where there is one.
pub const WRITABLE_DISK: &str = "xvdb";
/// The guest's only network interface.
pub const INTERFACE: &str = "eth0";
