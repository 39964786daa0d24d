//! The app's root: the image's disk, a writable layer over it, and the way in and out.

use crate::device;
use crate::failure::{Failure, OrFail, cause};
use crate::signals::Signals;
use contract::{Writable, devices};
use rustix::fs::{
    Access, Advice, CWD, Gid, Mode, OFlags, Uid, access, chmod, chown, fadvise, mkdirat, open, stat,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, mount_remount, unmount};
use rustix::process::{chdir, chroot, fchdir};
use std::ffi::{CStr, CString};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

/// Mount points in the initramfs.
const LOWER: &str = "/lower";
const UPPER: &str = "/upper";
const NEW_ROOT: &str = "/newroot";

/// Layer and scratch folder of the overlay, on whatever is mounted at [`UPPER`].
const LAYER: &str = "/upper/upper";
const SCRATCH: &str = "/upper/work";

/// Whole-folder renames and changes of mode or owner (`chown -R` in many entrypoints) are noted
/// in the layer, not made by copying files. The layer only ever lies over this one image.
const OVERLAY: &CStr =
    c"lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work,redirect_dir=on,metacopy=on";

/// Unused inode tables are left unwritten: writing them would fill the sparse disk.
const EXT4: &CStr = c"noinit_itable";

/// How much of the image's disk is asked for early: its superblock, and the metadata and small
/// files that lie first.
const HEAD_BYTES: u64 = 256 * 1024;

/// Work on the root that goes on while xenstore answers and the network is set up.
#[derive(Debug)]
pub struct HeadStart {
    /// Kept open because the kernel forgets what it read of a disk that nobody has open.
    _image: OwnedFd,
    mounting: Option<JoinHandle<Result<(), Failure>>>,
}

impl HeadStart {
    /// Asks dom0 for the beginning of the image's disk and, where the writable disk is there too,
    /// mounts both as the usual orders will have it. `None` where there is no disk yet.
    ///
    /// Mounting is a dozen disk accesses, each waiting for the one before. Signals must be
    /// blocked already: the thread that does it is not to take any.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let image = open(format!("/dev/{}", devices::ROOT_DISK), flags, Mode::empty()).ok()?;
        // Only advice: mounting reads all the same.
        let _ = fadvise(&image, 0, NonZeroU64::new(HEAD_BYTES), Advice::WillNeed);
        let layer = format!("/dev/{}", devices::WRITABLE_DISK);
        let mounting = access(layer, Access::EXISTS)
            .is_ok()
            .then(|| thread::spawn(|| mount_all(&Writable::Disk, None)));
        Some(Self { _image: image, mounting })
    }

    /// Waits for what was begun; `None` where that was only reading.
    fn join(&mut self) -> Option<Result<(), Failure>> {
        let broken = |_| Err(Failure::set_up("mounting the root broke off"));
        self.mounting.take().map(|thread| thread.join().unwrap_or_else(broken))
    }
}

/// Takes back what [`HeadStart`] or a failed [`Root::mount`] mounted; the writable disk is clean
/// after it. This process's root must still be the initramfs.
pub fn abandon(head_start: Option<HeadStart>) {
    head_start.and_then(|mut begun| begun.join());
    take_down();
}

fn take_down() {
    for folder in [NEW_ROOT, UPPER, LOWER] {
        // What is not mounted need not be taken down.
        let _ = unmount(folder, UnmountFlags::empty());
    }
}

/// The mounted root; kept for [`Root::close`].
#[derive(Debug)]
pub struct Root {
    initramfs: OwnedFd,
    writable: Writable,
}

impl Root {
    /// Mounts the image's disk with its writable layer; waits for the disks.
    ///
    /// # Errors
    /// A disk does not appear or holds no such file system.
    pub fn mount(
        writable: &Writable,
        mut head_start: Option<HeadStart>,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let initramfs = open("/", flags, Mode::empty()).or_fail(|| "open the initramfs".into())?;
        match head_start.as_mut().and_then(HeadStart::join) {
            Some(begun) if *writable == Writable::Disk => begun?,
            begun => {
                if begun.is_some() {
                    take_down();
                }
                mount_all(writable, Some(signals))?;
            }
        }
        Ok(Self { initramfs, writable: writable.clone() })
    }

    /// Makes it `/` for this process and all that it starts.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> Result<(), Failure> {
        // The mount itself is moved, not only this process's root: a process whose root is not
        // that of its mount namespace may not make user namespaces.
        chdir(NEW_ROOT)
            .and_then(|()| mount_move(".", "/"))
            .and_then(|()| chroot("."))
            .and_then(|()| chdir("/"))
            .or_fail(|| "change to the image's root".into())
    }

    /// Takes back the right to write where the orders say so; all mount points must be there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn seal(&self) -> Result<(), Failure> {
        if self.writable != Writable::Nothing {
            return Ok(());
        }
        mount_remount("/", MountFlags::RDONLY, c"").or_fail(|| "make the root read-only".into())
    }

    /// Writes out everything and leaves the writable disk clean. No other process may be left.
    ///
    /// # Errors
    /// Files of the disk are still in use; what was written is on it all the same.
    pub fn close(&self) -> Result<(), Failure> {
        rustix::fs::sync();
        if self.writable != Writable::Disk {
            return Ok(());
        }
        fchdir(&self.initramfs)
            .and_then(|()| mount_remount("upper", MountFlags::RDONLY, c""))
            .or_fail(|| format!("make /dev/{} read-only", devices::WRITABLE_DISK))
    }
}

/// Mounts the whole root at [`NEW_ROOT`]; waits for disks only where there are signals that may
/// end the wait.
fn mount_all(writable: &Writable, signals: Option<&Signals>) -> Result<(), Failure> {
    for folder in [LOWER, UPPER, NEW_ROOT] {
        make(folder)?;
    }
    mount_disk(devices::ROOT_DISK, LOWER, "erofs", MountFlags::RDONLY, c"", signals)?;
    match writable {
        Writable::Disk => {
            let disk = devices::WRITABLE_DISK;
            mount_disk(disk, UPPER, "ext4", MountFlags::NOATIME, EXT4, signals)?;
        }
        Writable::Memory { max_bytes } => mount_memory(*max_bytes)?,
        // Holds the few mount points and files that are made before all is read-only.
        Writable::Nothing => mount_memory(1 << 20)?,
    }
    if make(LAYER)? {
        copy_attributes()?;
    }
    make(SCRATCH)?;
    mount("overlay", NEW_ROOT, "overlay", MountFlags::empty(), OVERLAY)
        .or_fail(|| "lay the writable layer over the image".into())
}

/// Whether the folder is new.
fn make(folder: &str) -> Result<bool, Failure> {
    match mkdirat(CWD, folder, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error).or_fail(|| format!("make {folder}")),
    }
}

fn mount_disk(
    disk: &str,
    at: &str,
    kind: &str,
    flags: MountFlags,
    options: &CStr,
    signals: Option<&Signals>,
) -> Result<(), Failure> {
    let device = format!("/dev/{disk}");
    let Some(signals) = signals else { return mount_device(&device, at, kind, flags, options) };
    device::wait_for(device::Kind::Disk, disk, signals, || {
        // Asked first, because the kernel logs an error for a disk that it cannot mount.
        if access(&device, Access::EXISTS).is_err() {
            return Ok(None);
        }
        mount_device(&device, at, kind, flags, options).map(Some)
    })
}

fn mount_device(
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

fn mount_memory(max_bytes: u64) -> Result<(), Failure> {
    let size = if max_bytes == 0 { String::new() } else { format!(",size={max_bytes}") };
    let options = CString::new(format!("mode=0755{size}")).unwrap_or_default();
    mount("tmpfs", UPPER, "tmpfs", MountFlags::empty(), options.as_c_str())
        .or_fail(|| "mount memory as the writable layer".into())
}

/// `/` itself comes from the layer, so a new layer takes on the owner and mode of the image's.
fn copy_attributes() -> Result<(), Failure> {
    let wanted = stat(LOWER).or_fail(|| "look at the image's root".into())?;
    let mode = Mode::from_raw_mode(wanted.st_mode);
    let plain = mode == Mode::from_raw_mode(0o755) && (wanted.st_uid, wanted.st_gid) == (0, 0);
    if plain {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(wanted.st_uid), Gid::from_raw(wanted.st_gid));
    chown(LAYER, Some(uid), Some(gid))
        .and_then(|()| chmod(LAYER, mode))
        .or_fail(|| "give / the image's owner and mode".into())
}
