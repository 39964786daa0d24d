//! Builds the workspace's own programs with cargo.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::host::project_root;

/// The only platform. With `--target`, static flags do not apply to build scripts and macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How a program is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linking {
    /// Dynamically, with the C library of the machine that runs it.
    Dynamic,
    /// Statically. Dependencies are compiled as for [`Linking::Dynamic`], so only once for both.
    Static,
    /// Statically and as small as possible; dependencies are compiled with the same goal.
    SmallStatic,
}

const STATIC: [&str; 4] = ["-C", "target-feature=+crt-static", "-C", "relocation-model=static"];

/// Builds `program` of `package` for release and returns its path.
///
/// # Errors
/// Cargo failed and has printed its messages.
pub fn build(package: &str, program: &str, linking: Linking) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(project_root())
        .args(["rustc", "--quiet", "--release", "--package", package, "--bin", program])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    match linking {
        Linking::Dynamic => {}
        Linking::Static => {
            command.arg("--").args(STATIC);
        }
        Linking::SmallStatic => {
            command
                .args(["--target", TARGET])
                .env("RUSTFLAGS", STATIC.join(" "))
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z")
                .env("CARGO_PROFILE_RELEASE_LTO", "fat")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
                .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
        }
    }
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cannot build {program}: cargo failed");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo did not say where {program} is"))
}
