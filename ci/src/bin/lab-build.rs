//! `ci/build`: builds everything that a dom0 needs installed, and lays it out as it will be installed.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use lab::cargo::{Linking, build};
use lab::cpio::Archive;
use lab::host::{project_root, say};
use lab::kernel;
use lab::stage::default_stage;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Builds `launch`, its guest kernel and its other programs into a folder that is laid out like /.
///
/// To install it on a dom0, copy the folder's contents to /.
#[derive(Debug, Parser)]
#[command(name = "ci/build", bin_name = "ci/build")]
struct Cli {
    /// Destination; the default is `stage` in cargo's target folder, where `ci/lab` looks for it
    folder: Option<PathBuf>,
    /// Use this guest kernel instead of building one
    #[arg(long, value_name = "VMLINUX")]
    kernel: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match stage(&cli.folder.unwrap_or_else(default_stage), cli.kernel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn stage(folder: &Path, kernel: Option<PathBuf>) -> Result<()> {
    say("building launch");
    let launch = build("launch", "launch", Linking::Static)?;
    say("building init, hotplug, monitor and fetch");
    let init = build("init", "init", Linking::SmallStatic)?;
    let hotplug = build("toolstack", "hotplug", Linking::Static)?;
    let monitor = build("app", "monitor", Linking::Static)?;
    // Dynamic, for the C library's own ways to look up a registry's name, and for code at addresses that an image
    // cannot predict.
    let fetch = build("image", "fetch", Linking::Dynamic)?;
    let vmlinux = match kernel {
        Some(kernel) => kernel,
        None => kernel::build(&[])?,
    };
    install(&read(&launch)?, folder, "usr/bin/launch", 0o755)?;
    install(&read(&hotplug)?, folder, "usr/lib/launch/hotplug", 0o755)?;
    install(&read(&monitor)?, folder, "usr/lib/launch/monitor", 0o755)?;
    install(&read(&fetch)?, folder, "usr/lib/launch/fetch", 0o755)?;
    install(&read(&vmlinux)?, folder, "usr/lib/launch/vmlinux", 0o644)?;
    for (from, to) in [
        ("systemd/launch-apps.service", "usr/lib/systemd/system/launch-apps.service"),
        ("systemd/launch-pool.service", "usr/lib/systemd/system/launch-pool.service"),
        ("udev/59-launch.rules", "usr/lib/udev/rules.d/59-launch.rules"),
    ] {
        let contents = read(&project_root().join("launcher/cli").join(from))?;
        install(&contents, folder, to, 0o644)?;
    }
    // The first root of the guest: init, and the folders on which it mounts.
    let initrd = Archive::with_init(&["dev", "proc", "sys", "newroot"], &read(&init)?)?.finish()?;
    install(&initrd, folder, "usr/lib/launch/initrd", 0o644)?;
    say(&format!("the build is in {}", folder.display()));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file of the tree, unless it already has these contents: then its time stays, and a lab that has the file
/// need not copy it again.
fn install(contents: &[u8], folder: &Path, name: &str, mode: u32) -> Result<()> {
    let path = folder.join(name);
    if fs::read(&path).is_ok_and(|old| old == contents) {
        return Ok(());
    }
    let explain = || format!("cannot write {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(explain)?;
    }
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, contents).with_context(explain)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(mode)).with_context(explain)?;
    fs::rename(&unfinished, &path).with_context(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_the_same_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let time = || fs::metadata(folder.path().join("a/b")).unwrap().modified().unwrap();
        install(b"1", folder.path(), "a/b", 0o755).unwrap();
        let before = time();
        install(b"1", folder.path(), "a/b", 0o755).unwrap();
        assert_eq!(before, time());
        install(b"2", folder.path(), "a/b", 0o755).unwrap();
        assert_eq!(fs::read(folder.path().join("a/b")).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }
}
