//! The writable layer's disk: ext4, mounted without waiting for dom0's disk where that is safe.

use crate::failure::{Failure, OrFail, cause};
use contract::devices;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, pread};
use rustix::mount::{MountFlags, mount, mount_remount};
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// Unused inode tables are left unwritten: writing them would fill the sparse disk. Bitmaps are
/// read when they are used, and not all of them now.
const OPTIONS: &CStr = c"noinit_itable,no_prefetch_block_bitmaps";
/// The same for a clean disk. A mount marks it as in use and waits until that is on dom0's disk,
/// which takes longer than everything else that `init` does; without barriers it does not wait.
const CLEAN_OPTIONS: &CStr = c"noinit_itable,no_prefetch_block_bitmaps,nobarrier";
/// What is changed as soon as it is mounted, before anything else is written: from here on each
/// flush is one. The mark may come to dom0's disk with the first of them: ext4 writes to no place
/// that an unmarked disk uses before it has flushed its journal.
const MOUNTED_OPTIONS: &CStr = c"barrier";

/// Where an ext4 superblock has its `s_feature_incompat`, and in that
/// `EXT4_FEATURE_INCOMPAT_RECOVER`. Source: Linux `fs/ext4/ext4.h`.
const FEATURES_AT: u64 = 1024 + 0x60;
const NEEDS_RECOVERY: u32 = 4;

/// The disk.
#[derive(Debug)]
pub struct Layer {
    device: String,
    disk: OwnedFd,
}

impl Layer {
    /// Opens the disk.
    ///
    /// # Errors
    /// There is no such disk.
    pub fn open() -> Result<Self, Failure> {
        let device = format!("/dev/{}", devices::WRITABLE_DISK);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let disk = open(&device, flags, Mode::empty()).or_fail(|| format!("open {device}"))?;
        Ok(Self { device, disk })
    }

    /// Mounts it.
    ///
    /// # Errors
    /// It holds no ext4, or is damaged.
    pub fn mount(&self, at: &str) -> Result<(), Failure> {
        let clean = self.is_clean();
        let options = if clean { CLEAN_OPTIONS } else { OPTIONS };
        mount_disk(&self.device, at, "ext4", MountFlags::NOATIME, options)?;
        if clean {
            mount_remount(at, MountFlags::NOATIME, MOUNTED_OPTIONS)
                .or_fail(|| format!("turn on barriers of {}", self.device))?;
        }
        Ok(())
    }

    /// Whether it needs no recovery. That writes to places in use, and must not be overtaken by
    /// the mark that it is done.
    fn is_clean(&self) -> bool {
        let mut features = [0; 4];
        let read = pread(&self.disk, &mut features, FEATURES_AT);
        read == Ok(features.len()) && u32::from_le_bytes(features) & NEEDS_RECOVERY == 0
    }
}

/// Mounts a disk. The error names a disk that holds another file system.
///
/// # Errors
/// That, or the kernel's own reason.
pub fn mount_disk(
    device: &str,
    at: &str,
    kind: &str,
    flags: MountFlags,
    options: &CStr,
) -> Result<(), Failure> {
    match mount(device, at, kind, flags, options) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL) => Err(Failure::set_up(format!("{device} holds no {kind} file system"))),
        Err(error) => {
            Err(Failure::set_up(format!("cannot mount {device} as {kind}: {}", cause(error))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_disk_that_needs_recovery_or_cannot_be_read_is_not_clean() {
        let file = tempfile::tempfile().unwrap();
        let layer = Layer { device: String::new(), disk: file.try_clone().unwrap().into() };
        assert!(!layer.is_clean());
        file.write_all_at(&0x2c2u32.to_le_bytes(), FEATURES_AT).unwrap();
        assert!(layer.is_clean());
        file.write_all_at(&0x2c6u32.to_le_bytes(), FEATURES_AT).unwrap();
        assert!(!layer.is_clean());
    }
}
