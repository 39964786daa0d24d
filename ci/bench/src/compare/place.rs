//! Where the contenders run: the dom0 of a lab, or the one we are in.

use anyhow::{Context, Result, bail, ensure};
use lab::instance::Instance;
use lab::session::Collected;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest time for a step of preparation. A hang is longer, even on a busy emulated machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// A dom0.
#[derive(Debug)]
pub enum Place {
    /// Of a lab.
    Lab(Instance),
    /// This machine.
    Here,
}

impl Place {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started, or in a lab does not end.
    pub fn run(&self, argv: &[&str], input: &[u8]) -> Result<Collected> {
        match self {
            Self::Lab(lab) => lab.run(argv.iter().copied(), input, PATIENCE),
            Self::Here => run_here(argv, input),
        }
    }

    /// Runs a shell script that must succeed, and returns what it printed.
    ///
    /// # Errors
    /// When it fails: with what it wrote to standard error.
    pub fn sh(&self, script: &str) -> Result<String> {
        let output = self.run(&["sh", "-euc", script], &[])?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.code == 0, "this failed in dom0:\n{script}\n{}", text.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether a program is installed.
    ///
    /// # Errors
    /// When dom0 does not answer.
    pub fn has(&self, program: &str) -> Result<bool> {
        let script = "command -v \"$0\" >/dev/null || [ -e \"$0\" ]";
        Ok(self.run(&["sh", "-c", script, program], &[])?.code == 0)
    }

    /// Writes a file and the folders above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
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

    /// Makes a file of this machine known there, and returns its path there.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn show(&self, file: &Path) -> Result<String> {
        let path = match self {
            Self::Here => file.to_owned(),
            Self::Lab(lab) => {
                let name = file.file_name().context("a file has a name")?;
                std::fs::copy(file, lab.share().join(name))
                    .with_context(|| format!("cannot copy {}", file.display()))?;
                Path::new("/share").join(name)
            }
        };
        Ok(path.to_str().context("a path that is no text")?.to_owned())
    }
}

fn run_here(argv: &[&str], input: &[u8]) -> Result<Collected> {
    let Some((program, args)) = argv.split_first() else { bail!("no command was given") };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The command may end without reading all: not an error.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input);
            }
        });
        let output = child.wait_with_output().with_context(|| format!("cannot run {program}"))?;
        let code = output.status.code().unwrap_or(128);
        Ok(Collected { code, stdout: output.stdout, stderr: output.stderr })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_fails_is_shown_with_what_it_said() {
        let error = Place::Here.sh("echo before; echo why >&2; false; echo after").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("echo before") && text.ends_with("why"), "{text}");
        assert_eq!(Place::Here.sh("echo yes").unwrap(), "yes\n");
    }

    #[test]
    fn a_file_is_written_with_its_folder_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        Place::Here.write(path.to_str().unwrap(), 0o755, b"x").unwrap();
        assert!(Place::Here.has(path.to_str().unwrap()).unwrap());
        assert!(!Place::Here.has("no-such-program").unwrap());
    }
}
