//! Loop devices: raw files as block devices of dom0.
//!
//! Each loop device of `launch` carries a label (`lo_file_name`), by which a later process can identify it.
#![expect(unsafe_code, reason = "the loop driver is spoken to by ioctl only")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const CONTROL: &str = "/dev/loop-control";

// `include/uapi/linux/loop.h`, Linux 6.12.
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);

impl Info {
    const ZERO: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };

    fn label(&self) -> String {
        let end = self.file_name.iter().position(|byte| *byte == 0).unwrap_or(64);
        String::from_utf8_lossy(&self.file_name[..end]).into_owned()
    }
}

/// Why a loop device could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The loop driver is missing.
    #[error("cannot open {CONTROL}; load the kernel module loop")]
    Control(#[source] io::Error),
    /// All loop devices are in use, and the kernel makes no more.
    #[error("cannot get a free loop device")]
    NoneFree(#[source] io::Error),
    /// The block devices cannot be listed.
    #[error("cannot list /sys/block")]
    List(#[source] io::Error),
    /// The file cannot be opened.
    #[error("cannot open disk {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why it cannot be opened.
        source: io::Error,
    },
    /// Neither a regular file nor a block device.
    #[error("disk {0} is neither a regular file nor a block device")]
    NotADisk(PathBuf),
    /// The kernel refuses.
    #[error("cannot {action} {device}")]
    Device {
        /// The operation that failed.
        action: &'static str,
        /// The loop device.
        device: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// A block device of dom0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockDevice {
    /// Its path in `/dev`.
    pub path: PathBuf,
    /// Its number's upper half.
    pub major: u32,
    /// Its number's lower half.
    pub minor: u32,
}

/// The block device of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attached {
    /// A loop device, made for the disk.
    Loop(BlockDevice),
    /// The disk itself, which is a block device.
    Direct(BlockDevice),
}

/// A loop device in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InUse {
    /// Its path in `/dev`.
    pub path: PathBuf,
    /// The label its creator gave it.
    pub label: String,
}

/// Makes `file` a block device; `label` is cut to 63 bytes.
///
/// # Errors
/// The file cannot be opened for this access, or there is no free loop device.
pub(crate) fn attach(file: &Path, writable: bool, label: &str) -> Result<Attached, LoopError> {
    let open = |source| LoopError::Open { path: file.to_owned(), source };
    let backing = OpenOptions::new().read(true).write(writable).open(file).map_err(open)?;
    let metadata = backing.metadata().map_err(open)?;
    if metadata.file_type().is_block_device() {
        return Ok(Attached::Direct(device(
            fs::canonicalize(file).map_err(open)?,
            metadata.rdev(),
        )));
    }
    if !metadata.is_file() {
        return Err(LoopError::NotADisk(file.to_owned()));
    }
    let control =
        File::options().read(true).write(true).open(CONTROL).map_err(LoopError::Control)?;
    let mut config = Config {
        fd: u32::try_from(backing.as_raw_fd()).unwrap_or(u32::MAX),
        block_size: 0,
        info: Info::ZERO,
        reserved: [0; 8],
    };
    config.info.flags = if writable { 0 } else { LO_FLAGS_READ_ONLY };
    let label = &label.as_bytes()[..label.len().min(63)];
    config.info.file_name[..label.len()].copy_from_slice(label);
    loop {
        // SAFETY: this request takes no argument and touches no memory of this process.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(LoopError::NoneFree(io::Error::last_os_error()));
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let failed = |action| {
            let device = path.clone();
            move |source| LoopError::Device { action, device, source }
        };
        let opened = File::options().read(true).write(writable).open(&path);
        let loop_file = opened.map_err(failed("open"))?;
        // SAFETY: the kernel reads one `loop_config`; `config` is one and outlives the call, and the file that it
        // names is open.
        let done = unsafe { libc::ioctl(loop_file.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
        if done == 0 {
            let rdev = loop_file.metadata().map_err(failed("examine"))?.rdev();
            return Ok(Attached::Loop(device(path, rdev)));
        }
        let error = io::Error::last_os_error();
        // Another process has taken the device between the two requests.
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(failed("configure")(error));
        }
    }
}

fn device(path: PathBuf, rdev: u64) -> BlockDevice {
    BlockDevice { path, major: libc::major(rdev), minor: libc::minor(rdev) }
}

/// Detaches a loop device if it has this label, because its number may belong to another disk by now.
///
/// If the device is still open elsewhere, the kernel detaches it on the last close.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn detach(path: &Path, label: &str) -> Result<(), LoopError> {
    let failed =
        |action| move |source| LoopError::Device { action, device: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(failed("open")(error)),
    };
    match status(file.as_fd()) {
        Ok(info) if info.label() == label => {}
        Ok(_) => return Ok(()),
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(failed("examine")(error)),
    }
    // SAFETY: this request takes no argument and touches no memory of this process.
    if unsafe { libc::ioctl(file.as_raw_fd(), LOOP_CLR_FD) } != 0 {
        let error = io::Error::last_os_error();
        if !is_absent(&error) {
            return Err(failed("detach")(error));
        }
    }
    Ok(())
}

/// All loop devices in use whose label begins with `prefix`, except those that will be detached on their last close.
///
/// # Errors
/// `/sys/block` cannot be read.
pub(crate) fn list(prefix: &str) -> Result<Vec<InUse>, LoopError> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").map_err(LoopError::List)? {
        let entry = entry.map_err(LoopError::List)?;
        // The folder `loop` exists while the device is in use.
        if !entry.path().join("loop").exists() {
            continue;
        }
        let path = Path::new("/dev").join(entry.file_name());
        // Skips a device that is being detached.
        let Ok(file) = File::open(&path) else { continue };
        if let Ok(info) = status(file.as_fd()) {
            let label = info.label();
            if info.flags & LO_FLAGS_AUTOCLEAR == 0 && label.starts_with(prefix) {
                found.push(InUse { path, label });
            }
        }
    }
    Ok(found)
}

fn status(file: BorrowedFd<'_>) -> io::Result<Info> {
    let mut info = Info::ZERO;
    // SAFETY: the kernel writes one `loop_info64`; `info` is one, and all bit patterns are valid for it.
    match unsafe { libc::ioctl(file.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) } {
        0 => Ok(info),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV | libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Whether this test can attach loop devices, which needs root and the loop driver; reports it if not.
    fn can_attach() -> bool {
        let can = File::options().write(true).open(CONTROL).is_ok();
        if !can {
            eprintln!("skipped: {CONTROL} cannot be opened here");
        }
        can
    }

    #[test]
    fn a_file_becomes_a_labelled_block_device_and_goes_again() {
        if !can_attach() {
            return;
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        let label = format!("launch test {}", std::process::id());
        let Attached::Loop(device) = attach(file.path(), false, &label).unwrap() else {
            panic!("a file is no block device")
        };
        assert_eq!(fs::read(&device.path).unwrap(), [7; 8192]);
        assert_eq!(
            list(&label).unwrap(),
            [InUse { path: device.path.clone(), label: label.clone() }]
        );
        detach(&device.path, "somebody else's").unwrap();
        assert_eq!(list(&label).unwrap().len(), 1);
        detach(&device.path, &label).unwrap();
        assert_eq!(list(&label).unwrap(), []);
        detach(&device.path, &label).unwrap();
    }

    #[test]
    fn a_folder_is_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let error = attach(folder.path(), false, "").unwrap_err();
        assert!(matches!(error, LoopError::NotADisk(_)), "{error}");
    }

    #[test]
    fn a_missing_disk_is_named() {
        let error = attach(Path::new("/nonexistent/disk"), false, "").unwrap_err();
        assert_eq!(error.to_string(), "cannot open disk /nonexistent/disk");
    }
}
