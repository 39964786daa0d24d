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
use std::sync::Arc;
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
/// in the layer, not made by copying files. The layer only ever lies over this one image. All files have the
/// device number of the root, whichever disk they are on, or `du -x`, `df FILE` and others take them for mounts.
const OVERLAY: &CStr =
    c"lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work,redirect_dir=on,metacopy=on,xino=on";

/// Mounts of the root that are made while xenstore answers, disks appear and the network is set up.
///
/// Mounting is a dozen disk accesses, each waiting for the one before. Signals must be blocked
/// already: the threads that do it are not to take any.
#[derive(Debug)]
pub struct EarlyMounts {
    writable: Writable,
    layer: Begun<()>,
    image: Begun<Image>,
    /// Both of these, put together.
    root: Begun<Image>,
}

type Begun<T> = Option<JoinHandle<Result<T, Failure>>>;

impl EarlyMounts {
    /// Starts or continues the mounts that the disks present allow, as the usual orders will want them.
    #[must_use]
    pub fn advance(begun: Option<Self>) -> Option<Self> {
        let mut begun = begun.or_else(|| {
            let there = [devices::ROOT_DISK, devices::WRITABLE_DISK].into_iter().any(is_there);
            there.then(|| Self::new(&Writable::Disk))
        })?;
        begun.go_on();
        Some(begun)
    }

    /// Keeps the mounts made before the orders came if they match; otherwise undoes them and starts over.
    /// Blocks until the disks appear.
    ///
    /// # Errors
    /// A disk does not appear.
    pub fn with_orders(
        writable: &Writable,
        begun: Option<Self>,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        let mut begun = match begun {
            Some(begun) if begun.writable == *writable => begun,
            begun => {
                abandon(begun);
                Self::new(writable)
            }
        };
        match begun.await_disks(signals) {
            Ok(()) => Ok(begun),
            Err(failure) => {
                abandon(Some(begun));
                Err(failure)
            }
        }
    }

    fn new(writable: &Writable) -> Self {
        Self { writable: writable.clone(), layer: None, image: None, root: None }
    }

    fn await_disks(&mut self, signals: &Signals) -> Result<(), Failure> {
        let layer = (self.writable == Writable::Disk).then_some(devices::WRITABLE_DISK);
        for disk in [devices::ROOT_DISK].into_iter().chain(layer) {
            device::wait_for(device::Kind::Disk, disk, signals, || {
                let there = is_there(disk).then_some(());
                self.go_on();
                Ok(there)
            })?;
        }
        Ok(())
    }

    /// Begins what can be begun now.
    fn go_on(&mut self) {
        if self.root.is_some() {
            return;
        }
        if self.layer.is_none()
            && (self.writable != Writable::Disk || is_there(devices::WRITABLE_DISK))
        {
            let writable = self.writable.clone();
            self.layer = Some(thread::spawn(move || mount_layer(&writable)));
        }
        if self.image.is_none() && is_there(devices::ROOT_DISK) {
            self.image = Some(thread::spawn(mount_image));
        }
        if self.layer.is_some() && self.image.is_some() {
            let both = self.layer.take().zip(self.image.take());
            self.root = both.map(|(layer, image)| {
                thread::spawn(move || mount_root(joined(layer), joined(image)))
            });
        }
    }

    /// Waits for the root, whose disks must be there.
    fn join(self) -> Result<Image, Failure> {
        self.root.map_or_else(|| Err(Failure::set_up("there is no root to mount")), joined)
    }

    /// Waits until nothing is being mounted.
    fn settle(self) {
        // What failed to mount need not be taken down.
        let _ = self.layer.map(joined);
        let _ = self.image.map(joined);
        let _ = self.root.map(joined);
    }
}

fn joined<T>(thread: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    let broken = |_| Err(Failure::set_up("mounting the root broke off"));
    thread.join().unwrap_or_else(broken)
}

fn is_there(disk: &str) -> bool {
    access(format!("/dev/{disk}"), Access::EXISTS).is_ok()
}

/// Takes back what [`EarlyMounts`] or a failed [`Root::mount`] mounted; the writable disk is clean
/// after it. This process's root must still be the initramfs.
pub fn abandon(early: Option<EarlyMounts>) {
    if let Some(early) = early {
        early.settle();
    }
    for folder in [NEW_ROOT, UPPER] {
        let _ = unmount(folder, UnmountFlags::empty());
    }
    // A thread may still be reading ahead there.
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
        early: Option<EarlyMounts>,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let initramfs = open("/", flags, Mode::empty()).or_fail(|| "open the initramfs".into())?;
        let image = EarlyMounts::with_orders(writable, early, signals)?.join()?;
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

/// Mounts the writable layer at [`UPPER`].
fn mount_layer(writable: &Writable) -> Result<(), Failure> {
    make(UPPER)?;
    match writable {
        Writable::Disk => Layer::open()?.mount(UPPER)?,
        Writable::Memory { max_bytes } => mount_memory(*max_bytes)?,
        // Holds the few mount points and files that are made before all is read-only.
        Writable::Nothing => mount_memory(1 << 20)?,
    }
    marks::note("layer");
    Ok(())
}

/// Lays the writable layer over the image, at [`NEW_ROOT`].
///
/// Takes results, so that a caller that waits for it knows that neither is still being mounted.
fn mount_root(layer: Result<(), Failure>, image: Result<Image, Failure>) -> Result<Image, Failure> {
    let (image, ()) = (image?, layer?);
    let new = access(SCRATCH_USED, Access::EXISTS).is_err();
    for folder in [LAYER, SCRATCH, NEW_ROOT] {
        make(folder)?;
    }
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
    make(LOWER)?;
    let device = format!("/dev/{}", devices::ROOT_DISK);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let disk = open(&device, flags, Mode::empty()).or_fail(|| format!("open {device}"))?;
    mount_disk(&device, LOWER, "erofs", MountFlags::RDONLY, c"")?;
    let flags = flags | OFlags::DIRECTORY;
    let root = open(LOWER, flags, Mode::empty()).or_fail(|| format!("open {LOWER}"))?;
    let image = Image { disk, root, wants_set: Arc::default() };
    marks::note("image");
    if let (Ok(xenstore), Ok(image)) = (Store::connect(), image.try_clone()) {
        thread::spawn(move || {
            let known = start_set::receive(&xenstore);
            start_set::prepare(&image, &known);
            if let Known::Set(_) = known {
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
