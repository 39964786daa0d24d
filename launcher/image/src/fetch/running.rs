//! The running child: how it is started, how it ends, and what it writes to standard error.

use super::{channel::Channel, error::FetchError};
use crate::limits::{LimitError, Limits};
use contract::Untrusted;
use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::Duration,
};

/// All that the child gets of the environment: proxies, the resolver's settings, logging.
const ENVIRONMENT: &[&str] = &[
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "RUST_BACKTRACE",
];
/// What is kept of the child's standard error.
const MAX_STDERR: usize = 16 << 10;
/// What Rust's standard library writes before it aborts for want of memory.
const NO_MEMORY: &str = "memory allocation of ";

/// The child; killed when this goes.
pub(super) struct Running {
    child: Child,
    pub(super) channel: Channel,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub(super) fn start(program: &Path) -> Result<Self, FetchError> {
        let failed = |source| FetchError::Start { program: program.to_owned(), source };
        let (channel, theirs) = Channel::pair().map_err(failed)?;
        let kept = |name: &&str| Some((OsString::from(name), std::env::var_os(name)?));
        let mut child = Command::new(program)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(kept))
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            // Not the terminal itself: a child that an image controls could type into it.
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || drain(pipe)));
        Ok(Self { child, channel, stderr })
    }

    /// Why a child ended that sent no result for `name`.
    pub(super) fn end(&mut self, name: &str, limits: &Limits) -> FetchError {
        // With the socket broken it has no more to do; one that stays all the same is ended.
        let _ = self.channel.shut();
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let status = self.child.wait();
        let said = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let name = name.to_owned();
        let signal = status.as_ref().ok().and_then(ExitStatus::signal);
        if signal == Some(libc::SIGABRT) && said.lines().any(|line| line.starts_with(NO_MEMORY)) {
            let allowed = limits.max_memory_bytes;
            let limit = LimitError { name: "max_memory_bytes", allowed };
            return FetchError::Memory { name, limit };
        }
        if signal == Some(libc::SIGXFSZ) {
            let limit = LimitError { name: "max_disk_bytes", allowed: limits.max_disk_bytes };
            return FetchError::Large { name, limit };
        }
        let how = match status {
            Ok(status) => describe(status),
            Err(error) => format!("is lost: {error}"),
        };
        let how = match last {
            Some(line) => format!("{how}: {line}"),
            None => how,
        };
        FetchError::Died { name, how: one_line(&how) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both only fail when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(libc::SIGSYS) => {
            "was killed by its sandbox: it made a system call that it has no need for; the image \
             may be hostile"
                .to_owned()
        }
        Some(libc::SIGKILL) => "was killed; is memory short?".to_owned(),
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("left with {status} and without a result"),
    }
}

/// Logs what the child writes, and keeps the end of it.
fn drain(mut pipe: impl io::Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        for line in String::from_utf8_lossy(&buffer[..count]).lines() {
            tracing::debug!(target: "image::fetch_child", "{}", Untrusted::from(line));
        }
        kept.extend_from_slice(&buffer[..count]);
        let excess = kept.len().saturating_sub(MAX_STDERR);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What the child says, its lines as one.
pub(super) fn one_line(text: &str) -> Untrusted {
    text.trim_end().replace('\n', "; ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_child_says_cannot_drive_the_terminal() {
        assert_eq!(one_line("a\x1b[2Jb\nc\n").to_string(), "a\u{fffd}[2Jb; c");
        assert!(one_line(&"x".repeat(9999)).to_string().len() < 2000);
    }
}
