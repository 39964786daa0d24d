//! Protects starting monitors from SIGTERM.
//!
//! When a service, a job or a login ends, systemd sends SIGTERM to the processes left in its cgroup. A monitor leaves
//! that cgroup, but only a moment after its launcher has started it; until then it ignores SIGTERM.
#![expect(unsafe_code, reason = "std and rustix do not set what a signal does")]

use std::mem::MaybeUninit;
use std::ptr;

/// While this guard lives, child processes inherit SIGTERM as ignored, because systemd sends SIGTERM first.
pub(crate) struct IgnoreSigterm {
    before: libc::sigaction,
}

impl IgnoreSigterm {
    /// `None` if the kernel refuses; a new monitor is then not protected.
    pub(crate) fn new() -> Option<Self> {
        set_sigterm(libc::SIG_IGN).map(|before| Self { before })
    }
}

impl Drop for IgnoreSigterm {
    fn drop(&mut self) {
        // SAFETY: `before` is what the kernel returned for this signal, and it is not written.
        unsafe { libc::sigaction(libc::SIGTERM, &raw const self.before, ptr::null_mut()) };
    }
}

/// Sets this process's SIGTERM disposition to [`libc::SIG_IGN`] or [`libc::SIG_DFL`] and returns the previous one.
fn set_sigterm(what: libc::sighandler_t) -> Option<libc::sigaction> {
    // SAFETY: all fields are numbers, bit sets, or optional functions, for which zeros are valid.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = what;
    let mut before = action;
    // SAFETY: both pointers are to whole structures of this function.
    let done = unsafe { libc::sigaction(libc::SIGTERM, &raw const action, &raw mut before) };
    (done == 0).then_some(before)
}

/// Lets SIGTERM end this process, which was started under [`IgnoreSigterm`].
pub(crate) fn stop_ignoring_sigterm() {
    set_sigterm(libc::SIG_DFL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_under_the_guard_ignores_sigterm_and_what_is_started_later_does_not() {
        let _alone = crate::tests::alone();
        let ignored = || {
            let output =
                std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
            let status = String::from_utf8(output.stdout).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            let signals = u64::from_str_radix(line.trim(), 16).unwrap();
            signals & 1 << (libc::SIGTERM - 1) != 0
        };
        assert!(!ignored());
        let guard = IgnoreSigterm::new().unwrap();
        assert!(ignored());
        drop(guard);
        assert!(!ignored());
    }
}
