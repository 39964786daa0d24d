//! Limits as on a machine with much memory: the kernel works out many of them from how small the
//! domain is, and Docker's users never meet those. What is used up is the domain's own memory.

use crate::failure::{Failure, cause};
use contract::Sysctl;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Where the kernel has its settings as files.
const FOLDER: &str = "/proc/sys";
/// Open files that a process may have, soft and hard; Docker's usual value.
const MAX_OPEN_FILES: u64 = 1 << 20;
/// Signals that may be queued for a user: what Linux grants with 64 GiB of memory.
const MAX_PENDING_SIGNALS: u64 = 1 << 18;

/// What the kernel works out from the domain's memory, or keeps smaller than distributions do. The
/// numbers of processes, files and memory maps are those of systemd and of Debian 13.
const SYSCTLS: [(&str, &str); 10] = [
    ("kernel/threads-max", "4194304"),
    ("kernel/pid_max", "4194304"),
    ("fs/file-max", "9223372036854775807"),
    ("fs/nr_open", "1073741816"),
    ("vm/max_map_count", "1048576"),
    ("fs/inotify/max_user_watches", "1048576"),
    ("fs/inotify/max_user_instances", "1024"),
    ("fs/epoll/max_user_watches", "16777216"),
    // As Docker sets them, so that apps that do not run as root may listen on low ports and ping.
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
];

/// Raises the limits of the whole kernel. One without such a setting keeps its own rule. Needs `/proc`.
pub fn raise_kernels() {
    for (name, value) in SYSCTLS {
        let _ = fs::write(format!("{FOLDER}/{name}"), value);
    }
}

/// Raises this process's limits, which all that it starts take over. An app that meets one all the same
/// reports it itself.
pub fn raise_own() {
    let both = |limit| Rlimit { current: limit, maximum: limit };
    for (resource, limit) in [
        (Resource::Nproc, None),
        (Resource::Sigpending, Some(MAX_PENDING_SIGNALS)),
        (Resource::Nofile, Some(MAX_OPEN_FILES)),
    ] {
        if setrlimit(resource, both(limit)).is_err() {
            let _ = setrlimit(resource, both(getrlimit(resource).maximum));
        }
    }
}

/// Makes the kernel's settings that the user asked for (`--sysctl`).
///
/// # Errors
/// The kernel has no such setting, or does not take the value.
pub fn set_sysctls(wanted: &[Sysctl]) -> Result<(), Failure> {
    wanted.iter().try_for_each(|Sysctl { name, value }| {
        let path = format!("{FOLDER}/{}", name.replace('.', "/"));
        // Never made where it is not there: that is no setting of the kernel's.
        let written = fs::OpenOptions::new().write(true).open(path);
        let written =
            written.and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()));
        written.map_err(|error| {
            Failure::set_up(format!(
                "cannot set --sysctl {name}={value} in the guest's kernel: {}",
                cause(error)
            ))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_the_kernel_does_not_have_is_named() {
        let wanted = [Sysctl { name: "net.no.such".into(), value: "1".into() }];
        let failure = set_sysctls(&wanted).unwrap_err();
        let said =
            "cannot set --sysctl net.no.such=1 in the guest's kernel: no such file or directory";
        assert_eq!(failure.message, said);
    }
}
