//! The host: its Debian packages, root rights, and messages during long work.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Prints a message for the user to standard error. Standard output belongs to the commands in dom0.
pub fn say(text: &str) {
    eprintln!("lab: {text}");
}

/// Prints `text`, and then every ten seconds of `work` the time it has taken.
///
/// # Errors
/// The error of `work`.
pub fn with_progress<T>(text: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(text);
    let start = Instant::now();
    let (done, wait_done) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while wait_done.recv_timeout(Duration::from_secs(10)) == Err(RecvTimeoutError::Timeout)
            {
                say(&format!("  … {} s", start.elapsed().as_secs()));
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// The project's top folder.
#[must_use]
pub fn project_root() -> PathBuf {
    let ci = Path::new(env!("CARGO_MANIFEST_DIR"));
    ci.parent().unwrap_or(ci).to_path_buf()
}

/// `program` as root: directly if this process is root, otherwise through sudo.
///
/// # Errors
/// This process is not root, and sudo is not installed.
pub fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    let program = program.as_ref();
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    if find_program("sudo").is_none() {
        let program = program.to_string_lossy();
        bail!("{program} needs root: run this as root, or install sudo");
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    Ok(command)
}

/// Runs `command` to its end; shows its output only if it fails.
///
/// # Errors
/// The command cannot be started, or it fails; the error has its last lines.
pub fn run_quietly(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{name} failed ({}):\n{}", output.status, last_lines(&text, 30));
    }
    Ok(output.stdout)
}

/// The last `count` lines of `text`.
#[must_use]
pub fn last_lines(text: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Looks for `program` in PATH and in Debian's folders of root's programs.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Installs the Debian packages of missing programs. Each entry is (program, package); a program with a `/` is the path
/// of a file.
///
/// # Errors
/// A program is missing and apt-get cannot install it.
pub fn install_missing(wanted: &[(&str, &str)]) -> Result<()> {
    let is_there = |program: &str| match program.starts_with('/') {
        true => Path::new(program).exists(),
        false => find_program(program).is_some(),
    };
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find_program("apt-get").is_none() {
        bail!(
            "programs of these packages are missing and this is not Debian: {}",
            missing.join(" ")
        );
    }
    with_progress(&format!("installing {}", missing.join(" ")), || {
        run_quietly(apt_get()?.arg("update"))?;
        let first = run_quietly(&mut install(&missing)?);
        if first.is_err() && missing.contains(&"qemu-system-x86") {
            // If qemu-utils is newer than the release's, it prevents the installation of the release's QEMU.
            say("trying again with the release's own qemu-utils");
            let release = format!("qemu-utils/{}", release_name()?);
            let wanted = [missing.as_slice(), &[&release]].concat();
            run_quietly(install(&wanted)?.arg("--allow-downgrades"))?;
            return Ok(());
        }
        first.map(drop)
    })
    .context("cannot install the missing packages")
}

fn apt_get() -> Result<Command> {
    let mut command = as_root("env")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    command.args(["-o", "DPkg::Lock::Timeout=600"]);
    Ok(command)
}

fn install(packages: &[&str]) -> Result<Command> {
    let mut command = apt_get()?;
    command.args(["install", "-y", "--no-install-recommends"]).args(packages);
    Ok(command)
}

fn release_name() -> Result<String> {
    let text = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release names no release")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_shown() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines(b"a", 2), "a");
    }

    #[test]
    fn a_failing_command_shows_what_it_wrote() {
        let mut command = Command::new("sh");
        let error = run_quietly(command.args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().ends_with("\nwhy"), "{error}");
    }
}
