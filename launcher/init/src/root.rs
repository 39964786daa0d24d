//! The app's root: the image's disk, a writable layer over it, and the way in and out.

use crate::failure::{Failure, OrFail};
use crate::layer::{Layer, mount_disk};
use crate::signals::Signals;
use crate::start_set::{self, Image, Known};
use crate::{device, marks};
use contract::{Writable, devices};
use rustix::fs::{Access, CWD, Gid, Mode, OFlags, Uid, access, chmod, chown, mkdirat, open, stat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, mount_remount, unmount};
use rustix::process::{chdir, chroot, fchdir};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use xen::store::Store;

/// Mount points in the initramfs.
const LOWER: &str = "/lower";
const UPPER: &str = "/upper";
const NEW_ROOT: &str = "/newroot";

/// Layer and scratch folder of the overlay, on whatever is mounted at [`UPPER`].
const LAYER: &str = "/upper/upper";
const SCRATCH: &str = "/upper/work";
/// What overlayfs makes in its scratch folder.
const SCRATCH_USED: &str = "/upper/work/work";

/// Whole-folder renames and changes of mode or owner (`chown -R` in many entrypoints) are noted
/// in the layer, not made by copying files. The layer only ever lies over this one image.
const OVERLAY: &CStr =
    c"lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work,redirect_dir=on,metacopy=on";

/// Work on the root that goes on while xenstore answers and the network is set up.
#[derive(Debug)]
pub struct HeadStart {
    writable: Writable,
    mounting: JoinHandle<Result<Image, Failure>>,
}

impl HeadStart {
    /// Where the disks are there, mounts them as the usual orders will have it.
    ///
    /// Mounting is a dozen disk accesses, each waiting for the one before. Signals must be
    /// blocked already: the thread that does it is not to take any.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let there = [devices::ROOT_DISK, devices::WRITABLE_DISK].into_iter().all(is_there);
        there.then(|| Self::mount(&Writable::Disk))
    }

    /// Goes on with what was begun before the orders where it is what they want; else takes it
    /// back, waits for the disks and begins anew.
    ///
    /// # Errors
    /// A disk does not appear.
    pub fn with_orders(
        writable: &Writable,
        begun: Option<Self>,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        match begun {
            Some(begun) if begun.writable == *writable => return Ok(begun),
            begun => abandon(begun),
        }
        let layer = (*writable == Writable::Disk).then_some(devices::WRITABLE_DISK);
        for disk in [devices::ROOT_DISK].into_iter().chain(layer) {
            device::wait_for(device::Kind::Disk, disk, signals, || {
                Ok(is_there(disk).then_some(()))
            })?;
        }
        Ok(Self::mount(writable))
    }

    fn mount(writable: &Writable) -> Self {
        let wanted = writable.clone();
        Self { writable: writable.clone(), mounting: thread::spawn(move || mount_all(&wanted)) }
    }

    /// Waits for what was begun.
    fn join(self) -> Result<Image, Failure> {
        let broken = |_| Err(Failure::set_up("mounting the root broke off"));
        self.mounting.join().unwrap_or_else(broken)
    }
}

fn is_there(disk: &str) -> bool {
    access(format!("/dev/{disk}"), Access::EXISTS).is_ok()
}

/// Takes back what [`HeadStart`] or a failed [`Root::mount`] mounted; the writable disk is clean
/// after it. This process's root must still be the initramfs.
pub fn abandon(head_start: Option<HeadStart>) {
    // What failed to mount need not be taken down.
    let _ = head_start.map(HeadStart::join);
    for folder in [NEW_ROOT, UPPER] {
        let _ = unmount(folder, UnmountFlags::empty());
    }
    // Somebody may still be reading ahead there.
    let _ = unmount(LOWER, UnmountFlags::DETACH);
}

/// The mounted root; kept for [`Root::close`].
#[derive(Debug)]
pub struct Root {
    initramfs: OwnedFd,
    writable: Writable,
    image: Image,
}

impl Root {
    /// Mounts the image's disk with its writable layer; waits for the disks.
    ///
    /// # Errors
    /// A disk does not appear or holds no such file system.
    pub fn mount(
        writable: &Writable,
        head_start: Option<HeadStart>,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let initramfs = open("/", flags, Mode::empty()).or_fail(|| "open the initramfs".into())?;
        let image = HeadStart::with_orders(writable, head_start, signals)?.join()?;
        Ok(Self { initramfs, writable: writable.clone(), image })
    }

    /// The image below the writable layer.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
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

/// Mounts the whole root at [`NEW_ROOT`].
fn mount_all(writable: &Writable) -> Result<Image, Failure> {
    for folder in [LOWER, UPPER, NEW_ROOT] {
        make(folder)?;
    }
    // Both disks are asked before either answers.
    let layer = (*writable == Writable::Disk).then(Layer::open).transpose()?;
    let image = mount_image()?;
    marks::note("image");
    match writable {
        Writable::Disk => layer.as_ref().map_or(Ok(()), |layer| layer.mount(UPPER))?,
        Writable::Memory { max_bytes } => mount_memory(*max_bytes)?,
        // Holds the few mount points and files that are made before all is read-only.
        Writable::Nothing => mount_memory(1 << 20)?,
    }
    marks::note("layer");
    let new = access(SCRATCH_USED, Access::EXISTS).is_err();
    make(LAYER)?;
    make(SCRATCH)?;
    if new {
        copy_attributes()?;
    }
    mount("overlay", NEW_ROOT, "overlay", MountFlags::empty(), OVERLAY)
        .or_fail(|| "lay the writable layer over the image".into())?;
    marks::note("overlay");
    Ok(image)
}

/// Mounts the image's disk at [`LOWER`], and has its start set read where dom0 knows one.
fn mount_image() -> Result<Image, Failure> {
    let device = format!("/dev/{}", devices::ROOT_DISK);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let disk = open(&device, flags, Mode::empty()).or_fail(|| format!("open {device}"))?;
    mount_disk(&device, LOWER, "erofs", MountFlags::RDONLY, c"")?;
    let flags = flags | OFlags::DIRECTORY;
    let root = open(LOWER, flags, Mode::empty()).or_fail(|| format!("open {LOWER}"))?;
    let image = Image { disk, root };
    if let (Ok(xenstore), Ok(image)) = (Store::connect(), image.try_clone()) {
        thread::spawn(move || {
            if let Known::Set(set) = start_set::receive(&xenstore) {
                start_set::read_ahead(&image, &set);
                marks::note("read ahead");
            }
        });
    }
    Ok(image)
}

/// Makes a folder that may be there already.
fn make(folder: &str) -> Result<(), Failure> {
    match mkdirat(CWD, folder, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).or_fail(|| format!("make {folder}")),
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
