//! The registry of test images on this machine's loopback, as seen from a lab's dom0.

use crate::host::{project_root, with_progress};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};

/// Builds the images, serves them on this machine's loopback, and returns the port.
///
/// # Errors
/// A step failed.
pub fn start() -> Result<u16> {
    with_progress("building and serving the test images, unless they are cached", || {
        let output = starter().output().context("cannot start ci/images")?;
        ensure!(output.status.success(), "ci/images failed");
        let text = String::from_utf8_lossy(&output.stdout);
        let port = text.lines().last().unwrap_or_default();
        port.trim().parse().with_context(|| format!("ci/images printed {port:?} instead of a port"))
    })
}

/// The command that builds the images and serves them.
#[must_use]
pub fn starter() -> Command {
    images(&["registry", "start"])
}

/// Whether the registry runs.
///
/// # Errors
/// `ci/images` cannot be started.
pub fn runs() -> Result<bool> {
    Ok(images(&["registry", "runs"]).status().context("cannot start ci/images")?.success())
}

/// Ends the registry.
///
/// # Errors
/// The registry does not end.
pub fn stop() -> Result<()> {
    let status = images(&["registry", "stop"]).status().context("cannot start ci/images")?;
    ensure!(status.success(), "ci/images cannot stop the registry");
    Ok(())
}

/// `ci/images` with these arguments.
fn images(arguments: &[&str]) -> Command {
    let mut command = Command::new(project_root().join("ci/images"));
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// `launch`'s settings in a lab: this registry replaces Docker Hub.
#[must_use]
pub fn mirror_settings(port: u16) -> String {
    format!("[image.mirrors]\n\"docker.io\" = [\"http://10.0.2.2:{port}\"]\n")
}
