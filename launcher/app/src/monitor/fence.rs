//! The fence of the reader: the rights that it gives up before it reads a guest's first byte.
//!
//! It becomes another user, without capabilities. It cannot open files by path (Landlock, and no call that takes a
//! path), may make few system calls (seccomp), and has little memory and a bounded file size.

use crate::settings::Settings;
use sandbox::{Calls, Gap, Gaps, Landlock, Resource, Sandbox, SandboxError, Test};
use std::error::Error;
use std::io;

/// Far more than a reader needs, so that a fault in it cannot use up dom0's memory.
const MEMORY_BYTES: u64 = 64 << 20;
/// Limit of open files. Beside those that are open, the reader gets only the next log file.
const OPEN_FILES: u64 = 16;
/// The last piece of output may exceed a log file's size by this much.
const LAST_PIECE_BYTES: u64 = 1 << 20;
/// The `ioctl` that notifies a guest over a vchan, the only one of event channels that is allowed. It can name only
/// ports of the open file.
const NOTIFY: u64 = xen::NOTIFY_REQUEST;

const ALLOWED: &[i64] = &[
    // For the console, the vchan's events, the log and the keeper.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // For memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // For time, signals and the end.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Gives up all rights that the reader does not need. Passes `say` a line about fences that this kernel lacks.
/// # Errors
/// The fence is incomplete, and the settings do not allow that.
pub(super) fn enter(
    settings: &Settings,
    say: &mut dyn FnMut(String) -> io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let log_bytes = (settings.log_mib << 20).saturating_add(LAST_PIECE_BYTES);
    let notify = [Test::Is { argument: 1, value: u32::try_from(NOTIFY)? }];
    // The readers of other apps run as the same user, so a reader may signal only itself.
    let itself = [Test::Is { argument: 0, value: std::process::id() }];
    let sandbox = Sandbox {
        user: Some(settings.monitor_uid).filter(|_| rustix::process::getuid().is_root()),
        dies_with_parent: true,
        limits: &[
            (Resource::Core, 0),
            (Resource::Fsize, log_bytes),
            (Resource::As, MEMORY_BYTES),
            (Resource::Nofile, OPEN_FILES),
        ],
        landlock: Landlock { files: &[], connect: Some(&[]), bind: Some(&[]), needed: &[] },
        calls: Calls {
            allowed: &[ALLOWED],
            checked: &[(libc::SYS_ioctl, &[&notify]), (libc::SYS_tgkill, &[&itself])],
            deadly: &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace],
        },
    };
    let lacking = match sandbox.enter() {
        // No allowed call connects, listens or signals another process, so the list makes up for what an older
        // Landlock does not forbid.
        Ok(_) => return Ok(()),
        // No allowed call takes a path, so seccomp makes up for Landlock.
        Err(SandboxError::Gaps(gaps)) if !has_calls(&gaps) => gaps,
        Err(SandboxError::Gaps(gaps)) if settings.allow_unfenced_monitor => gaps,
        Err(error) => return Err(Box::new(Unfenced(error))),
    };
    Ok(say(format!(
        "this kernel lacks {lacking}; the monitor reads the guest's output and report without it"
    ))?)
}

fn has_calls(gaps: &Gaps) -> bool {
    gaps.0.iter().any(|Gap { fence, .. }| *fence == sandbox::Fence::Calls)
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the monitor does not read the guest's output and report, because nothing would contain a fault in its reader: the app has no log and no exit code; allow_unfenced_monitor = true in [domain] of /etc/launch/config.toml makes it read them"
)]
struct Unfenced(#[source] SandboxError);
