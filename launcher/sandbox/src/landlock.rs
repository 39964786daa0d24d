//! Landlock: restricts files, TCP ports and signals.
#![expect(unsafe_code, reason = "Landlock has no safe interface in rustix or std")]

use crate::error::{Fence, Gap, Gaps, SandboxError, failed};
use rustix::fs::{Mode, OFlags};
use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::Path,
};

/// The rights that Landlock leaves to the process.
///
/// Landlock restricts opening, creating, renaming and removing files, but not `stat`, `chmod`, `chown`, `utime` or
/// `setxattr`, nor `truncate` before Linux 6.2. So the list of system calls must not contain those that the process
/// does not need.
#[derive(Clone, Copy, Debug)]
pub struct Landlock<'a> {
    /// Files and folders, with everything below them, and the access to each. See [`open_place`].
    pub files: &'a [(BorrowedFd<'a>, Access)],
    /// TCP ports that the process may connect to; `None` allows all.
    pub connect: Option<&'a [u16]>,
    /// TCP ports that the process may listen on; `None` allows all.
    pub bind: Option<&'a [u16]>,
    /// The fences besides [`Fence::Files`] without which [`crate::Sandbox::enter`] fails. Leave out a fence if the list
    /// of system calls has the same effect.
    pub needed: &'a [Fence],
}

/// What the process may do with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read files, list folders.
    Read,
    /// As `Read`, and write, create, rename and remove files, folders, symbolic links and named pipes, but not devices
    /// or sockets.
    Write,
}

// Constants from `include/uapi/linux/landlock.h`.
const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;
const RULE_NET_PORT: libc::c_int = 2;
const FS_WRITE_FILE: u64 = 1 << 1;
const FS_READ_FILE: u64 = 1 << 2;
const FS_READ_DIR: u64 = 1 << 3;
const FS_REMOVE_DIR: u64 = 1 << 4;
const FS_REMOVE_FILE: u64 = 1 << 5;
const FS_MAKE_DIR: u64 = 1 << 7;
const FS_MAKE_REG: u64 = 1 << 8;
const FS_MAKE_FIFO: u64 = 1 << 10;
const FS_MAKE_SYM: u64 = 1 << 12;
const FS_REFER: u64 = 1 << 13;
const FS_TRUNCATE: u64 = 1 << 14;
const NET_BIND_TCP: u64 = 1;
const NET_CONNECT_TCP: u64 = 2;
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 2;

/// Rights on files, by the first version of Landlock that has them.
const FS_BY_VERSION: [u64; 5] = [(1 << 13) - 1, FS_REFER, FS_TRUNCATE, 0, 1 << 15];
/// The rights that apply to files other than folders.
const FS_OF_FILES: u64 = 1 | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE;
const READ: u64 = FS_READ_FILE | FS_READ_DIR;
const WRITE: u64 = READ
    | FS_WRITE_FILE
    | FS_TRUNCATE
    | FS_MAKE_REG
    | FS_MAKE_DIR
    | FS_MAKE_FIFO
    | FS_MAKE_SYM
    | FS_REMOVE_FILE
    | FS_REMOVE_DIR
    | FS_REFER;
const NET_VERSION: u32 = 4;
const SCOPE_VERSION: u32 = 6;

/// `struct landlock_ruleset_attr`; older kernels accept a longer one if the rest of it is zero.
#[repr(C)]
struct Handled {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: libc::c_int,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// Opens a file or folder for [`Landlock::files`]; `None` if it does not exist.
///
/// # Errors
/// The kernel's answer, unless it says that the file does not exist.
pub fn open_place(path: &Path) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(place) => Ok(Some(place)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Landlock<'_> {
    /// Restricts the calling thread; requires `no_new_privs`. Returns the fences that the kernel lacks.
    pub(crate) fn restrict(&self) -> Result<Gaps, SandboxError> {
        let version = match version() {
            Ok(version) => version,
            Err(cause) => return Ok(self.gaps(0, Some(cause))),
        };
        let rules = || -> io::Result<()> {
            let ruleset = self.ruleset(version)?;
            // SAFETY: no pointers are passed.
            let done =
                unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
            if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // The kernel has Landlock, so an error here does not mean that the kernel lacks it.
        rules().map_err(failed("set up Landlock"))?;
        Ok(self.gaps(version, None))
    }

    pub(crate) fn gaps(&self, version: u32, cause: Option<io::Error>) -> Gaps {
        let fences = [
            (Fence::Files, 1, true),
            (Fence::TcpConnect, NET_VERSION, self.connect.is_some()),
            (Fence::TcpBind, NET_VERSION, self.bind.is_some()),
            (Fence::Signals, SCOPE_VERSION, true),
            (Fence::AbstractSockets, SCOPE_VERSION, true),
        ];
        let missing = fences.into_iter().filter(|(_, since, asked)| *asked && version < *since);
        let gap = |(fence, since, _)| {
            let cause = match cause.as_ref().and_then(io::Error::raw_os_error) {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => io::Error::other(format!("it has version {version}, not {since}")),
            };
            Gap { fence, cause }
        };
        Gaps(missing.map(gap).collect())
    }

    pub(crate) fn ruleset(&self, version: u32) -> io::Result<OwnedFd> {
        let since = |since: u32, rights: u64| if version >= since { rights } else { 0 };
        let known = FS_BY_VERSION.iter().zip(1..).map(|(rights, first)| since(first, *rights));
        let files = known.fold(0, |all, rights| all | rights);
        let ports = [(self.bind, NET_BIND_TCP), (self.connect, NET_CONNECT_TCP)];
        let network = ports.iter().filter(|(ports, _)| ports.is_some()).map(|(_, right)| right);
        let handled = Handled {
            files,
            network: since(NET_VERSION, network.sum()),
            scoped: since(SCOPE_VERSION, SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL),
        };
        let ruleset = create_ruleset(&handled)?;
        for (place, access) in self.files {
            let rights = match access {
                Access::Read => READ,
                Access::Write => WRITE,
            };
            let mode = rustix::fs::fstat(place)?.st_mode;
            let kind = rustix::fs::FileType::from_raw_mode(mode);
            let fitting =
                if kind == rustix::fs::FileType::Directory { u64::MAX } else { FS_OF_FILES };
            let allowed = rights & fitting & files;
            let rule = PathBeneath { allowed, parent: place.as_raw_fd() };
            add_rule(&ruleset, RULE_PATH_BENEATH, (&raw const rule).cast())?;
        }
        for (ports, allowed) in ports {
            for port in ports.filter(|_| version >= NET_VERSION).unwrap_or_default() {
                let rule = NetPort { allowed, port: u64::from(*port) };
                add_rule(&ruleset, RULE_NET_PORT, (&raw const rule).cast())?;
            }
        }
        Ok(ruleset)
    }
}

/// The kernel's version of Landlock.
pub(crate) fn version() -> io::Result<u32> {
    // SAFETY: with this flag the kernel takes no attributes and reads no memory.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Handled>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

fn create_ruleset(handled: &Handled) -> io::Result<OwnedFd> {
    // SAFETY: `handled` is a structure of the stated size that lives until the call returns.
    let ruleset = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(handled),
            size_of::<Handled>(),
            0_u32,
        )
    };
    match i32::try_from(ruleset) {
        // SAFETY: the kernel has just opened this file, and nothing else owns it.
        Ok(ruleset @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(ruleset) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Adds a rule; `rule` points to the structure that belongs to `kind`.
fn add_rule(ruleset: &OwnedFd, kind: libc::c_int, rule: *const libc::c_void) -> io::Result<()> {
    // SAFETY: both callers pass a live structure of the kind they name.
    let done = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), kind, rule, 0_u32)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
