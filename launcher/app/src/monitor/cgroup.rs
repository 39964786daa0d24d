//! The cgroup of monitors.
//!
//! systemd ends what is left in the cgroup of a service, a job or a login that ends, and a monitor is
//! to stay as long as its app. So it goes to one beside systemd's own, as containers' do where an
//! engine manages them without systemd. Going there takes a moment (Linux waits until every processor has
//! seen it), and the launcher may have ended before: a monitor does not hear SIGTERM until a moment after,
//! as systemd may have read before who is to get it.

use files::FileError;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Where Linux tells a process's own cgroup: `0::` and its path, a line.
const OWN: &str = "/proc/self/cgroup";
/// That of monitors.
const FOLDER: &str = "/sys/fs/cgroup/launch";

/// Takes this process, a monitor that was [`IgnoreSigterm`] so far, out of the cgroup that it was started in.
/// Without cgroups, or with those of version 1, there is nothing to leave.
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
    // 0 is the process that writes it.
    fs::write(&members, "0").map_err(FileError::io("join", &members))
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
    fn a_cgroup_is_left_unless_it_is_the_root_or_our_own() {
        assert!(is_foreign("0::/system.slice/cron.service\n"));
        assert!(is_foreign("12:devices:/\n0::/user.slice/user-0.slice/session-1.scope\n"));
        assert!(!is_foreign("0::/\n"));
        assert!(!is_foreign("0::/launch\n"));
        assert!(!is_foreign("5:memory:/somewhere\n"));
    }
}
