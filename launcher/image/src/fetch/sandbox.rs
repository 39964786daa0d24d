//! What the child gives up before it reads anything from outside.
//!
//! The crate `sandbox` does it; this is the list of what a fetch may still do.

mod calls;

use super::messages::{Input, Request};
use calls::{ALLOWED, DEADLY, NETWORK};
use rustix::process::getuid;
use sandbox::{Access, Calls, Gaps, Landlock, Resource, Sandbox, SandboxError, Test, open_place};
use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

/// What a registry's name, address and certificate are looked up in: the resolver's settings and
/// plug-ins (glibc loads them at the first look-up), and certificates.
const READABLE: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];
const MAX_OPEN_FILES: u64 = 64;

/// Closes all but standard input, output and error.
#[expect(unsafe_code, reason = "only the caller knows that nothing is open")]
pub(super) fn close_inherited_files() {
    // SAFETY: the caller is at the start of the process, with one thread, and has opened nothing:
    // no value anywhere owns a file above 2.
    if let Err(error) = unsafe { sandbox::close_files_from(3) } {
        tracing::debug!("close_range: {error}");
    }
}

/// Gives up what `request` has no need for. Returns what the kernel lacks, which can only be more
/// than nothing if the settings allow it.
///
/// # Errors
/// One line that says what could not be given up, and which setting goes on without it.
pub(super) fn enter(request: &Request) -> Result<Gaps, String> {
    // If memory is short, this process goes rather than a domain's monitor. Failure does no harm.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    let entered = confine(request, |sandbox| sandbox.enter());
    allow(entered, request)
}

/// Decides whether a fetch continues with fences missing.
fn allow(entered: Result<(), SandboxError>, request: &Request) -> Result<Gaps, String> {
    let name = &request.name;
    match entered {
        Ok(()) => Ok(Gaps::default()),
        Err(SandboxError::Gaps(gaps)) if request.settings.allow_unsandboxed_fetch => Ok(gaps),
        Err(error @ SandboxError::Gaps(_)) => Err(format!(
            "cannot fetch {name} safely: {error}; use a kernel that has it, or set \
             allow_unsandboxed_fetch = true under [image] in /etc/launch/config.toml"
        )),
        Err(SandboxError::Step { step, source }) => {
            let user = request.uid;
            Err(format!("cannot fetch {name} safely: as user {user}, cannot {step}: {source}"))
        }
    }
}

fn confine(
    request: &Request,
    enter: impl FnOnce(&Sandbox<'_>) -> Result<Gaps, SandboxError>,
) -> Result<(), SandboxError> {
    let network = matches!(request.input, Input::Registry(_));
    let places = readable(network)
        .map_err(|source| SandboxError::Step { step: "open the resolver's files", source })?;
    let files: Vec<_> = places.iter().map(|place| (place.as_fd(), Access::Read)).collect();
    let limits = &request.settings.limits;
    let own_id = [Test::Is { argument: 0, value: std::process::id() }];
    let sandbox = Sandbox {
        user: getuid().is_root().then_some(request.uid),
        dies_with_parent: true,
        limits: &[
            (Resource::Core, 0),
            (Resource::Fsize, limits.max_disk_bytes),
            (Resource::Data, limits.max_memory_bytes),
            (Resource::Nofile, MAX_OPEN_FILES),
        ],
        landlock: Landlock {
            files: &files,
            connect: if network { None } else { Some(&[]) },
            bind: Some(&[]),
            // The list of calls has none to bind or listen with, no Unix sockets, and signals for
            // this process only. So older kernels, whose Landlock does not know these, will do.
            needed: &[],
        },
        calls: Calls {
            allowed: if network { &[ALLOWED, NETWORK] } else { &[ALLOWED] },
            checked: &[
                // Landlock before Linux 6.2 lets through what empties a file on opening it.
                (libc::SYS_openat, &[&[calls::for_reading(2)]]),
                #[cfg(target_arch = "x86_64")]
                (libc::SYS_open, &[&[calls::for_reading(1)]]),
                // A new process; threads share memory, files and more. glibc makes threads with
                // clone when clone3, which is on no list, is refused.
                (libc::SYS_clone, &[&[calls::THREAD]]),
                (libc::SYS_tgkill, &[&own_id]),
                (libc::SYS_socket, if network { calls::SOCKETS } else { &[] }),
                (libc::SYS_ioctl, if network { calls::REQUESTS } else { &[] }),
            ],
            deadly: DEADLY,
        },
    };
    // What `needed` leaves out does not matter here, as said there.
    enter(&sandbox).map(drop)
}

/// The files and folders that may be read, opened; those that are not there are left out.
fn readable(network: bool) -> io::Result<Vec<OwnedFd>> {
    let paths = if network { READABLE } else { &[] };
    paths.iter().filter_map(|path| open_place(Path::new(path)).transpose()).collect()
}

#[cfg(test)]
mod tests;
