//! What stands before the app with `--init`: PID 1 of the app's namespace, as a process of this program's.
//! It passes signals on to the app, reaps orphans, and ends with the app's exit code.

use rustix::process::{Pid, WaitOptions, wait};
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

/// The name by which this program is called for it.
pub const NAME: &CStr = c"launch-init";
/// The app: the second process of its namespace.
const APP: libc::pid_t = 2;

/// Stands before the app until that has ended, if this program was called `name` for it; else
/// `None`. All signals must be blocked. Returns Docker's exit code for how the app ended.
#[must_use]
pub fn run(name: Option<&OsStr>) -> Option<i32> {
    if name?.as_bytes() != NAME.to_bytes() {
        return None;
    }
    // Without it the name would be the number of the file that was run.
    let _ = rustix::thread::set_name(NAME);
    // SAFETY: sigfillset initializes the set it is given.
    let all = unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    };
    loop {
        // SAFETY: the set is initialized; what is known of the signal is not asked for.
        match unsafe { libc::sigwaitinfo(&raw const all, ptr::null_mut()) } {
            libc::SIGCHLD => {
                if let Some(code) = reap() {
                    return Some(code);
                }
            }
            signal if signal > 0 => {
                // SAFETY: plain system call. The app is not reaped yet, so the number is its own.
                unsafe { libc::kill(APP, signal) };
            }
            _ => {}
        }
    }
}

/// Reaps all children that have ended. Returns the app's exit code if it is among them.
fn reap() -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Some(pid) == Pid::from_raw(APP) {
            code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
        }
    }
    code
}
