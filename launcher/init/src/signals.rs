//! Signals as events, and how the kernel's shutdown request becomes one.
//!
//! Dom0 writes `control/shutdown`; the guest kernel answers by running `kernel.poweroff_cmd` as a
//! process of its own. That command is this very program, found as `/proc/1/exe`, because the
//! kernel looks it up in the root that PID 1 has (they share one `fs_struct`), where `/init`
//! is out of reach once the app's root is in place. It sends PID 1 [`libc::SIGPWR`].

use crate::failure::{Failure, OrFail};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the messenger is called with.
pub const STOP_ARGUMENT: &str = "stop-app";
/// The kernel's setting, as a file of `/proc`.
const POWEROFF_COMMAND: &str = "/proc/sys/kernel/poweroff_cmd";

/// Signals that mean something here. The app cannot send any: this process is not in its namespace.
/// SIGTERM is how an image's `/sbin/reboot` passes on `xl reboot`.
const HEARD: [libc::c_int; 3] = [libc::SIGCHLD, libc::SIGPWR, libc::SIGTERM];

/// What a signal to PID 1 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A child ended.
    Child,
    /// Dom0 wants the domain to shut down.
    Stop,
}

/// The signals of this process, readable as a file.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals of interest and opens them as a file.
    ///
    /// Blocked signals stay pending even for PID 1, to which the kernel otherwise delivers
    /// nothing that has no handler; so none that arrives early is lost.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open() -> Result<Self, Failure> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initializes the set it is given; sigaddset takes valid numbers.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for signal in HEARD {
                libc::sigaddset(&raw mut set, signal);
            }
            set
        };
        // SAFETY: the set is initialized; the old mask is not asked for.
        let blocked =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked)).or_fail(|| "block signals".into());
        }
        // SAFETY: -1 asks for a new descriptor; the set is initialized.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).or_fail(|| "open a signalfd".into());
        }
        // SAFETY: the kernel has just opened this descriptor for us; nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that arrived, if any; never waits.
    #[must_use]
    pub fn take(&self) -> Option<Event> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most `size` bytes into `info`, which has that many.
        let got = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if usize::try_from(got) != Ok(size) {
            return None;
        }
        // SAFETY: all `size` bytes were written, and every bit pattern is a valid value.
        let number = unsafe { info.assume_init() }.ssi_signo;
        Some(match libc::c_int::try_from(number).unwrap_or(0) {
            libc::SIGCHLD => Event::Child,
            _ => Event::Stop,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes the kernel run this program when dom0 asks for a shutdown; needs `/proc`.
///
/// # Errors
/// The setting cannot be written.
pub fn register_stop_command() -> Result<(), Failure> {
    std::fs::write(POWEROFF_COMMAND, format!("/proc/1/exe {STOP_ARGUMENT}"))
        .or_fail(|| format!("write {POWEROFF_COMMAND}"))
}

/// The messenger's whole work: tells PID 1 to stop.
///
/// # Errors
/// The kernel refuses.
pub fn ask_to_stop() -> io::Result<()> {
    Ok(kill_process(Pid::INIT, Signal::POWER)?)
}
