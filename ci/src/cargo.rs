//! Builds the workspace's own programs with cargo.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::host::project_root;

/// The only platform; naming it keeps static flags away from build scripts and macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How a program is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linking {
    /// Against the C library of the machine it runs on.
    Dynamic,
    /// Statically. Its dependencies are compiled as for [`Linking::Dynamic`], so only once for both.
    Static,
    /// Statically and as small as possible: its dependencies are compiled for that too.
    SmallStatic,
}

const STATIC: [&str; 4] = ["-C", "target-feature=+crt-static", "-C", "relocation-model=static"];

/// Builds `program` of `package` for release and returns its path.
///
/// # Errors
/// When cargo fails; its messages have been shown.
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
