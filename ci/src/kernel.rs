//! The guest kernel, as `guest-kernel-config/build` makes and keeps it.

use crate::host::{project_root, say};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds the guest kernel, with these patches besides its own, unless it is there already. Returns
/// the path of its `vmlinux`.
///
/// # Errors
/// When the build fails.
pub fn build(patches: &[&Path]) -> Result<PathBuf> {
    say("building the guest kernel, some minutes unless it is there already");
    let mut command = Command::new(project_root().join("guest-kernel-config/build"));
    for patch in patches {
        command.arg("--patch").arg(patch);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start guest-kernel-config/build")?;
    if !output.status.success() {
        bail!("guest-kernel-config/build failed ({})", output.status);
    }
    // The last line it prints is the path.
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().last().context("guest-kernel-config/build named no kernel")?;
    Ok(path.into())
}
