//! The host: its Debian packages, root rights, and what is said while something long goes on.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Tells the user what is going on. Standard output belongs to the commands in dom0.
pub fn say(text: &str) {
    eprintln!("lab: {text}");
}

/// Says `text`, and while `work` goes on every ten seconds how long it has taken.
///
/// # Errors
/// What `work` reports.
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

/// `program` as root: by itself when we are root, else through sudo.
///
/// # Errors
/// When we are not root and there is no sudo.
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

/// Runs `command` to its end; its output is shown only when it fails.
///
/// # Errors
/// When it cannot be started or fails: then with the last lines it wrote.
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

/// Looks for `program` in PATH and where Debian keeps root's programs.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Installs the Debian packages whose programs are missing. Each entry is (program, package); a
/// program with a `/` is a file to look for.
///
/// # Errors
/// When something is missing and apt-get cannot install it.
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
        bail!("these are missing and this is not Debian: {}", missing.join(" "));
    }
    with_progress(&format!("installing {}", missing.join(" ")), || {
        run_quietly(apt_get()?.arg("update"))?;
        let first = run_quietly(&mut install(&missing)?);
        if first.is_err() && missing.contains(&"qemu-system-x86") {
            // A newer qemu-utils than the release's, from elsewhere, keeps its own QEMU out.
            say("trying again with the release's own qemu-utils");
            let release = format!("qemu-utils/{}", release_name()?);
            let wanted = [missing.as_slice(), &[&release]].concat();
            run_quietly(install(&wanted)?.arg("--allow-downgrades"))?;
            return Ok(());
        }
        first.map(drop)
    })
    .context("cannot install what is missing")
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
