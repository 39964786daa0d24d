//! Takes rights away from the calling process permanently.
//!
//! A [`Sandbox`] lists what the process keeps. [`Sandbox::enter`] takes away everything else: user, capabilities, files
//! and network (Landlock), and system calls (seccomp). `enter` fails unless every fence that the sandbox needs is in
//! place, so a caller must ignore a missing fence explicitly.
//!
//! The crate has two dependencies and keeps no tables on the heap after `enter`, because one of its users runs once for
//! each app.

#![deny(unsafe_code)]

mod error;
mod landlock;
mod seccomp;

pub use error::{Fence, Gap, Gaps, SandboxError};
pub use landlock::{Access, Landlock, open_place};
pub use rustix::process::Resource;
pub use seccomp::{Calls, Test};

use error::failed;
use rustix::{
    process::{
        DumpableBehavior, Gid, Rlimit, Signal, Uid, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    },
    thread::{
        CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};
use std::{io, os::unix::fs::MetadataExt as _};

/// The rights that the process keeps. [`Sandbox::enter`] takes away all others.
///
/// In any case the process loses all capabilities, cannot gain privileges by executing a program, and cannot be traced
/// or dumped by its user.
#[derive(Clone, Copy, Debug)]
pub struct Sandbox<'a> {
    /// The user to become, with the group of the same number and no other groups. `None` keeps the current user. Only
    /// root can become another user; user 0 is refused.
    pub user: Option<u32>,
    /// Whether the kernel kills the process when the thread that started it ends.
    pub dies_with_parent: bool,
    /// Resource limits, soft and hard, each in the resource's unit.
    pub limits: &'a [(Resource, u64)],
    /// Rights on files, TCP ports and signals.
    pub landlock: Landlock<'a>,
    /// The allowed system calls.
    pub calls: Calls<'a>,
}

impl Sandbox<'_> {
    /// Takes away all rights that are not listed from the calling process, which must have a single thread. Open files
    /// stay open and usable.
    ///
    /// Returns the fences that this kernel lacks, all of them absent from [`Landlock::needed`].
    ///
    /// # Errors
    /// [`SandboxError::Step`] if a right could not be given up, or if there is a second thread; [`SandboxError::Gaps`]
    /// if the kernel lacks seccomp, Landlock for files, or a fence in [`Landlock::needed`].
    pub fn enter(&self) -> Result<Gaps, SandboxError> {
        expect_one_thread()?;
        self.enter_thread()
    }

    /// As [`Sandbox::enter`], but for the calling thread only: other threads keep their rights. For tests, because the
    /// test harness has a thread of its own.
    ///
    /// # Errors
    /// Those of [`Sandbox::enter`].
    pub fn enter_thread(&self) -> Result<Gaps, SandboxError> {
        if let Some(user) = self.user {
            become_user(user).map_err(failed("become another user"))?;
        }
        drop_capabilities().map_err(failed("give up capabilities"))?;
        // After the change of user, which resets both settings.
        if self.dies_with_parent {
            set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(failed("ask to end with the parent process"))?;
        }
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(failed("forbid tracing and dumps"))?;
        set_no_new_privs(true).map_err(failed("forbid new privileges"))?;
        for &(resource, limit) in self.limits {
            let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
            setrlimit(resource, limit).map_err(failed("set a resource limit"))?;
        }
        let mut gaps = self.landlock.restrict()?;
        if let Err(cause) = self.calls.restrict() {
            gaps.0.push(Gap { fence: Fence::Calls, cause });
        }
        let needed = |gap: &Gap| {
            matches!(gap.fence, Fence::Files | Fence::Calls)
                || self.landlock.needed.contains(&gap.fence)
        };
        let (needed, others): (Vec<Gap>, Vec<Gap>) = gaps.0.into_iter().partition(needed);
        match needed.is_empty() {
            true => Ok(Gaps(others)),
            false => Err(SandboxError::Gaps(Gaps(needed))),
        }
    }
}

/// Fails if there is a second thread: Landlock, seccomp and capabilities apply to one thread only.
fn expect_one_thread() -> Result<(), SandboxError> {
    let step = "check that there is only one thread";
    // Each task is a subfolder with a link to its parent; the folder has two links of its own.
    let links = std::fs::metadata("/proc/self/task").map_err(failed(step))?.nlink();
    match links {
        0..=3 => Ok(()),
        _ => Err(failed(step)(io::Error::other(format!("there are {}", links - 2)))),
    }
}

fn become_user(user: u32) -> rustix::io::Result<()> {
    if user == 0 {
        return Err(rustix::io::Errno::INVAL);
    }
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // Becoming root again must fail; otherwise the process has not given up root.
    match set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT) {
        Ok(()) => Err(rustix::io::Errno::PERM),
        Err(_) => Ok(()),
    }
}

/// Keeps the bounding set: without new privileges it has no effect.
fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets)?;
    if capabilities(None)? == sets { Ok(()) } else { Err(rustix::io::Errno::PERM) }
}

/// Closes every open file from number `first` on.
///
/// # Errors
/// The kernel's answer; `ENOSYS` before Linux 5.9.
///
/// # Safety
/// No value of this process may own a file from number `first` on. This holds at the start of `main`, before anything
/// is opened.
#[expect(unsafe_code, reason = "no safe interface closes files that Rust does not know")]
pub unsafe fn close_files_from(first: u32) -> io::Result<()> {
    // SAFETY: by this function's contract no value owns a closed file.
    match unsafe { libc::close_range(first, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Marks every open file from number `first` on, also inherited ones, to be closed when this process or a child of it
/// executes a program.
///
/// # Errors
/// The kernel's answer; `ENOSYS` before Linux 5.9, `EINVAL` before 5.11.
#[expect(unsafe_code, reason = "no safe interface marks files that Rust does not know")]
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or(0);
    // SAFETY: with this flag no file of this process is closed.
    match unsafe { libc::close_range(first, libc::c_uint::MAX, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
