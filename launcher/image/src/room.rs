//! Space that must stay free on the file system of a guest disk.

use std::{fs::File, io};

/// Less would stay free than has to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "less than {} MiB would stay free; that much is kept by min_free_bytes under [image.limits]",
    kept_bytes.div_ceil(1 << 20)
)]
pub(crate) struct Reserve {
    /// What has to stay free.
    pub(crate) kept_bytes: u64,
}

/// Makes sure that `min_free_bytes`, or a twentieth of the file system if that is less, are free
/// where `file` is.
///
/// # Errors
/// [`Reserve`] as an error of the kind `StorageFull`; the kernel's answer.
pub(crate) fn check(file: &File, min_free_bytes: u64) -> io::Result<()> {
    let status = rustix::fs::fstatvfs(file)?;
    let kept_bytes = min_free_bytes.min(status.f_blocks.saturating_mul(status.f_frsize) / 20);
    match status.f_bavail.saturating_mul(status.f_frsize) < kept_bytes {
        true => Err(io::Error::new(io::ErrorKind::StorageFull, Reserve { kept_bytes })),
        false => Ok(()),
    }
}
