//! The guest kernel, built and cached by `guest-kernel-config/build`.

use crate::host::{project_root, say};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds the guest kernel with these additional patches, unless it is cached. Returns the path of its `vmlinux`.
///
/// # Errors
/// The build failed.
pub fn build(patches: &[&Path]) -> Result<PathBuf> {
    say("building the guest kernel, which takes some minutes unless it is cached");
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
    // The last line of its output is the path.
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().last().context("guest-kernel-config/build named no kernel")?;
    Ok(path.into())
}
