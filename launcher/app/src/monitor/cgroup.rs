//! The cgroup of monitors, apart from those that systemd ends.
//!
//! When a service, a job or a login ends, systemd ends the processes left in its cgroup, but a monitor must live as
//! long as its app. So the monitor moves to a cgroup beside systemd's, as containers do under an engine that manages
//! cgroups itself. The move takes a moment (Linux waits until every processor has seen it), and the launcher may end
//! before. So a monitor ignores SIGTERM until a moment after the move: systemd may have listed the processes earlier.

use files::FileError;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The file in which Linux shows a process's own cgroup: a line with `0::` and the path.
const OWN: &str = "/proc/self/cgroup";
/// The monitors' cgroup.
const FOLDER: &str = "/sys/fs/cgroup/launch";

/// Moves this process, a monitor under [`IgnoreSigterm`], out of the cgroup in which it was started. Does nothing
/// without cgroups or with version 1.
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
    // 0 means the process that writes it.
    fs::write(&members, "0").map_err(FileError::io("join", &members))
}

/// Whether a process in the cgroups `own` is in a cgroup other than the root and the monitors'.
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
