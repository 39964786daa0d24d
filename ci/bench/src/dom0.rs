//! The measured dom0: that of a lab, or this machine.

use anyhow::{Context, Result, ensure};
use lab::instance::Instance;
use lab::session::Collected;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{Seek, Write};
use std::process::Command;
use std::time::Duration;

/// The longest time for a step of preparation, on a busy emulated machine. A longer step hangs.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) enum Dom0 {
    /// A lab, and the address of its registry in dom0.
    Lab(Instance, String),
    /// This machine.
    Here,
}

impl Dom0 {
    /// Runs a program to its end.
    pub(crate) fn run(&self, argv: &[&str], input: &[u8]) -> Result<Collected> {
        match self {
            Self::Lab(lab, _) => lab.run(argv.iter().copied(), input, PATIENCE),
            Self::Here => run_here(argv, input),
        }
    }

    /// Runs a shell script that must succeed, and returns what it printed.
    pub(crate) fn sh(&self, script: &str) -> Result<String> {
        let output = self.run(&["sh", "-euc", script], &[])?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.code == 0, "this failed in dom0:\n{script}\n{}", text.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether a program is installed.
    pub(crate) fn has(&self, program: &str) -> Result<bool> {
        let script = "command -v \"$0\" >/dev/null || [ -e \"$0\" ]";
        Ok(self.run(&["sh", "-c", script, program], &[])?.code == 0)
    }

    /// Writes a file, and creates missing folders.
    pub(crate) fn write(&self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let script = format!(
            "mkdir -p \"${{0%/*}}\" && cat >\"$0.part\" && chmod {mode:o} \"$0.part\" && mv \"$0.part\" \"$0\""
        );
        let output = self.run(&["sh", "-c", &script, path], contents)?;
        ensure!(
            output.code == 0,
            "cannot write {path} in dom0: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

fn run_here(argv: &[&str], input: &[u8]) -> Result<Collected> {
    let (program, args) = argv.split_first().context("no command was given")?;
    let mut stdin = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    stdin.write_all(input).and_then(|()| stdin.rewind()).context("cannot keep the input")?;
    let output = Command::new(program).args(args).stdin(stdin).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let code = output.status.code().unwrap_or(128);
    Ok(Collected { code, stdout: output.stdout, stderr: output.stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_fails_is_shown_with_what_it_said() {
        let error = Dom0::Here.sh("echo before; echo why >&2; false; echo after").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("echo before") && text.ends_with("why"), "{text}");
        assert_eq!(Dom0::Here.sh("echo yes").unwrap(), "yes\n");
    }

    #[test]
    fn a_file_is_written_with_its_folder_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        Dom0::Here.write(path.to_str().unwrap(), 0o755, b"x").unwrap();
        assert!(Dom0::Here.has(path.to_str().unwrap()).unwrap());
        assert!(!Dom0::Here.has("no-such-program").unwrap());
    }
}
