//! The file systems that every app finds around its root: `/proc`, `/sys`, `/dev` and what is in
//! it, and those that the orders ask for.
//!
//! `/run` is left as the image has it, as Docker does: images keep folders there that their apps
//! need (`/run/postgresql`).

use crate::failure::{Failure, OrFail, cause};
use contract::Tmpfs;
use rustix::fs::{CWD, Mode, mkdirat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// How many links are followed one after the other, as the kernel has it.
const MAX_LINKS: u32 = 40;

struct FileSystem {
    kind: &'static str,
    path: &'static str,
    flags: MountFlags,
    options: &'static CStr,
    /// A kernel without it still runs most apps.
    optional: bool,
}

/// How what the kernel shows as files is mounted: no programs, devices or rights come from there.
pub(crate) const NO_FILES: MountFlags =
    MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// In the order of mounting, with Docker's options. `/dev` allows execution because programs map
/// `/dev/zero` executable.
const KERNEL_FILE_SYSTEMS: [FileSystem; 6] = [
    FileSystem { kind: "proc", path: "/proc", flags: NO_FILES, options: c"", optional: false },
    FileSystem { kind: "sysfs", path: "/sys", flags: NO_FILES, options: c"", optional: true },
    FileSystem {
        kind: "devtmpfs",
        path: "/dev",
        flags: MountFlags::NOSUID,
        options: c"mode=0755",
        optional: false,
    },
    FileSystem {
        kind: "devpts",
        path: "/dev/pts",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        options: c"gid=5,mode=0620,ptmxmode=0666",
        optional: true,
    },
    // Half of memory, the kernel's default, where Docker has a fixed 64 MiB: the domain's
    // memory is its limit.
    FileSystem {
        kind: "tmpfs",
        path: "/dev/shm",
        flags: NO_FILES,
        options: c"mode=1777",
        optional: true,
    },
    FileSystem {
        kind: "mqueue",
        path: "/dev/mqueue",
        flags: NO_FILES,
        options: c"",
        optional: true,
    },
];

const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Mounts what the kernel provides, in the app's root; makes mount points that are missing.
///
/// # Errors
/// `/proc` or `/dev` cannot be mounted.
pub fn mount_kernel_file_systems() -> Result<(), Failure> {
    for FileSystem { kind, path, flags, options, optional } in KERNEL_FILE_SYSTEMS {
        match mount_at(kind, path, flags, options) {
            // ENODEV: the kernel was built without it.
            Err(Errno::NODEV) if optional => {}
            result => result.or_fail(|| format!("mount {kind} on {path}"))?,
        }
    }
    for (target, link) in LINKS {
        match symlinkat(target, CWD, link) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).or_fail(|| format!("link {link} to {target}")),
        }
    }
    Ok(())
}

fn mount_at(kind: &str, path: &str, flags: MountFlags, options: &CStr) -> Result<(), Errno> {
    let result = mount(kind, path, kind, flags, options);
    if result != Err(Errno::NOENT) {
        return result;
    }
    match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => mount(kind, path, kind, flags, options),
        Err(error) => Err(error),
    }
}

/// Mounts the memory file systems that the orders ask for.
///
/// # Errors
/// A path is not absolute or cannot be made, or the kernel refuses the options.
pub fn mount_tmpfs(wanted: &[Tmpfs]) -> Result<(), Failure> {
    for Tmpfs { path, options } in wanted {
        if !path.starts_with('/') {
            return Err(Failure::set_up(format!(
                "cannot mount tmpfs on '{path}': the path is not absolute"
            )));
        }
        make_folder(path)?;
        let (flags, rest) = parse_options(options);
        let data = CString::new(rest)
            .map_err(|_| Failure::set_up(format!("tmpfs options for {path} contain a NUL")))?;
        mount("tmpfs", path, "tmpfs", flags, data.as_c_str()).map_err(|error| {
            let cause = cause(error);
            Failure::set_up(format!("cannot mount tmpfs on {path} with '{options}': {cause}"))
        })?;
    }
    Ok(())
}

/// Makes a folder and its parents in the app's root; a folder that exists stays as it is. Where the path
/// has a link whose target is missing, the target is made.
///
/// # Errors
/// Something else has its name, or the root cannot be written.
pub fn make_folder(path: &str) -> Result<(), Failure> {
    make_below_links(Path::new(path), MAX_LINKS).or_fail(|| format!("make the folder {path}"))
}

fn make_below_links(path: &Path, links: u32) -> io::Result<()> {
    let create = || DirBuilder::new().recursive(true).mode(0o755).create(path);
    let refused = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => error,
        result => return result,
    };
    let dangles = |part: &&Path| part.is_symlink() && !part.exists();
    let Some(link) = path.ancestors().filter(dangles).last() else { return Err(refused) };
    if links == 0 {
        return Err(Errno::LOOP.into());
    }
    let target = link.parent().unwrap_or(link).join(fs::read_link(link)?);
    make_below_links(&target, links - 1)?;
    create()
}

/// Splits mount options into the kernel's flags and those for tmpfs itself.
fn parse_options(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut rest = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => flags |= MountFlags::RDONLY,
            "rw" => flags -= MountFlags::RDONLY,
            "noexec" => flags |= MountFlags::NOEXEC,
            "exec" => flags -= MountFlags::NOEXEC,
            "nosuid" => flags |= MountFlags::NOSUID,
            "suid" => flags -= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "dev" => flags -= MountFlags::NODEV,
            "noatime" => flags |= MountFlags::NOATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "defaults" => {}
            other => rest.push(other),
        }
    }
    (flags, rest.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_options_win_and_the_rest_goes_to_tmpfs() {
        let (flags, rest) = parse_options("rw,noexec,nosuid,exec,size=16m,,mode=1777");
        assert_eq!(flags, MountFlags::NOSUID);
        assert_eq!(rest, "size=16m,mode=1777");
    }

    #[test]
    fn a_folder_is_made_where_a_link_leads_to_nothing_and_not_where_a_file_is() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let make = |name: &str| make_folder(at(name).to_str().unwrap());
        symlink("new/target", at("relative")).unwrap();
        symlink(at("relative/below"), at("twice")).unwrap();
        symlink("circle", at("circle")).unwrap();
        fs::write(at("file"), "").unwrap();
        make("twice/inside").unwrap();
        assert!(at("new/target/below/inside").is_dir());
        for (name, cause) in [("file", "file exists"), ("circle", "symbolic links")] {
            let failure = make(name).unwrap_err();
            assert!(failure.message.contains(cause), "{failure}");
        }
    }

    #[test]
    fn a_relative_mount_point_is_refused() {
        let wanted = [Tmpfs { path: "tmp".into(), options: String::new() }];
        assert!(mount_tmpfs(&wanted).unwrap_err().message.contains("not absolute"));
    }
}
