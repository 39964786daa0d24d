//! The registry of test images on this machine's loopback, as a lab's dom0 sees it.

use crate::host::{project_root, with_progress};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};

/// Makes the images, serves them on this machine's loopback, and returns the port.
///
/// # Errors
/// When one of the steps fails.
pub fn start() -> Result<u16> {
    with_progress("making the test images and serving them, unless they are there already", || {
        let output = starter().output().context("cannot start ci/images")?;
        ensure!(output.status.success(), "ci/images failed");
        let text = String::from_utf8_lossy(&output.stdout);
        let port = text.lines().last().unwrap_or_default();
        port.trim().parse().with_context(|| format!("ci/images gave {port:?} for a port"))
    })
}

/// The command that makes the images and serves them.
#[must_use]
pub fn starter() -> Command {
    images(&["registry", "start"])
}

/// Whether it runs.
///
/// # Errors
/// When that cannot be found out.
pub fn runs() -> Result<bool> {
    Ok(images(&["registry", "runs"]).status().context("cannot start ci/images")?.success())
}

/// Ends it.
///
/// # Errors
/// When it stays.
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

/// `launch`'s settings in a lab: Docker Hub's names mean this registry.
#[must_use]
pub fn mirror_settings(port: u16) -> String {
    format!("[image.mirrors]\n\"docker.io\" = [\"http://10.0.2.2:{port}\"]\n")
}
