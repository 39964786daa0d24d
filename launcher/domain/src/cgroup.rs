//! The cgroup of monitors.
//!
//! systemd ends what is left in the cgroup of a service, a job or a login that ends, and a monitor is
//! to stay as long as its app. So it goes to one beside systemd's own, as containers' do where an
//! engine manages them without systemd. Going there takes a moment (Linux waits until every processor has
//! seen it), and the launcher may have ended before: a monitor does not hear SIGTERM until a moment after,
//! as systemd may have read before who is to get it.
#![expect(unsafe_code, reason = "std and rustix do not set what a signal does")]

use files::FileError;
use std::fs;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr;

/// Where Linux tells a process's own cgroup: `0::` and its path, a line.
const OWN: &str = "/proc/self/cgroup";
/// That of monitors.
const FOLDER: &str = "/sys/fs/cgroup/launch";

/// As long as it lives, processes that this one starts ignore SIGTERM: it is what systemd begins with.
pub(crate) struct Spared {
    before: libc::sigaction,
}

impl Spared {
    /// `None` where the kernel refuses: then a monitor is as easily ended as any other process.
    pub(crate) fn new() -> Option<Self> {
        set_sigterm(libc::SIG_IGN).map(|before| Self { before })
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        // SAFETY: `before` is what the kernel gave for this signal; it is not written.
        unsafe { libc::sigaction(libc::SIGTERM, &raw const self.before, ptr::null_mut()) };
    }
}

/// Lets this process do that with SIGTERM: [`libc::SIG_IGN`] or [`libc::SIG_DFL`], no function; returns
/// what it did before.
fn set_sigterm(what: libc::sighandler_t) -> Option<libc::sigaction> {
    // SAFETY: all fields are numbers, a set of bits, or an optional function: zeros are good for each.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = what;
    let mut before = action;
    // SAFETY: both point to whole structs of ours.
    let done = unsafe { libc::sigaction(libc::SIGTERM, &raw const action, &raw mut before) };
    (done == 0).then_some(before)
}

/// Takes this process, a monitor that was [`Spared`] so far, out of the cgroup that it was started in.
/// Where nobody has made any, or not of the second version, there is nothing to leave.
pub(crate) fn leave() -> Result<(), FileError> {
    match fs::read_to_string(OWN) {
        Ok(own) if is_foreign(&own) => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    let folder = Path::new(FOLDER);
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(FileError::io("make", folder)(error));
        }
        _ => {}
    }
    let members = folder.join("cgroup.procs");
    // 0 is whoever writes it.
    fs::write(&members, "0").map_err(FileError::io("join", &members))
}

/// Lets SIGTERM end this process, a monitor that was [`Spared`] so far.
pub(crate) fn hear_sigterm() {
    set_sigterm(libc::SIG_DFL);
}

/// Whether a process in the cgroups `own` is in one of somebody's.
fn is_foreign(own: &str) -> bool {
    own.lines()
        .any(|line| line.strip_prefix("0::").is_some_and(|path| path != "/" && path != "/launch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_while_a_monitor_is_spared_ignores_sigterm_and_nothing_later_does() {
        let ignored = || {
            let output =
                std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
            let status = String::from_utf8(output.stdout).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            let signals = u64::from_str_radix(line.trim(), 16).unwrap();
            signals & 1 << (libc::SIGTERM - 1) != 0
        };
        assert!(!ignored());
        let spared = Spared::new().unwrap();
        assert!(ignored());
        drop(spared);
        assert!(!ignored());
    }

    #[test]
    fn a_cgroup_is_left_unless_it_is_the_root_or_our_own() {
        assert!(is_foreign("0::/system.slice/cron.service\n"));
        assert!(is_foreign("12:devices:/\n0::/user.slice/user-0.slice/session-1.scope\n"));
        assert!(!is_foreign("0::/\n"));
        assert!(!is_foreign("0::/launch\n"));
        assert!(!is_foreign("5:memory:/somewhere\n"));
    }
}
