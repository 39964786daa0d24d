//! The processes of a copy: `launch exec` for the guest's part, and the receiver. Their messages are as untrusted as
//! the guest, so they are read up to a limit and cleaned.

use super::interrupt::Interrupt;
use anyhow::{Context, Result};
use contract::Untrusted;
use contract::copy::PROGRAM;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much of a process's standard error is kept.
const KEPT_BYTES: usize = 64 << 10;
/// How much of a process's standard error is read; the rest is ignored.
const MAX_BYTES: usize = 1 << 20;
/// How often to check whether a process that is about to end has ended.
const RETRY: Duration = Duration::from_millis(10);

/// A child process, killed when this value is dropped.
pub(super) struct Process {
    child: Child,
    said: Option<JoinHandle<Vec<u8>>>,
    /// Readable when the process has closed its standard error, which nearly always means that it has ended.
    ended: UnixStream,
}

impl Process {
    /// Starts the process in a separate process group, because Ctrl-C is for this command, which then ends the process.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let program = Path::new(command.get_program()).display();
        let program = format!("cannot start {program}");
        let (ended, ends) = UnixStream::pair().context("cannot make a pair of sockets")?;
        let started = command.stderr(Stdio::piped()).process_group(0).spawn();
        let mut child = started.context(program)?;
        let said = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let said = listen(stderr);
                drop(ends);
                said
            })
        });
        Ok(Self { child, said, ended })
    }

    /// Runs the guest's `init` beside the app, as root, with a stream to or from this process.
    pub(super) fn in_guest(app: &str, input: bool, arguments: &[&OsStr]) -> Result<Self> {
        let launch = std::env::current_exe().context("cannot find launch")?;
        let mut command = Command::new(launch);
        command.arg("exec").args(input.then_some("-i"));
        command.args(["-u", "0:0", "-w", "/", app, PROGRAM]).args(arguments);
        match input {
            true => command.stdin(Stdio::piped()).stdout(Stdio::null()),
            false => command.stdin(Stdio::null()).stdout(Stdio::piped()),
        };
        Self::start(&mut command)
    }

    pub(super) fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("no pipe")
    }

    pub(super) fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("no pipe")
    }

    /// Waits for the process to end, and kills it after `patience`.
    ///
    /// # Errors
    /// A signal to this command came meanwhile, or waiting fails.
    pub(super) fn end(
        mut self,
        interrupt: &Interrupt,
        patience: Option<Duration>,
    ) -> Result<(ExitStatus, Vec<u8>)> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        interrupt.wait(self.as_fd(), patience)?;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for a process")? {
                break status;
            }
            interrupt.check()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.kill();
            }
            std::thread::sleep(RETRY);
        };
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        Ok((status, said))
    }

    fn kill(&mut self) {
        // Fails only if the process has ended and was waited for.
        let _ = self.child.kill();
    }
}

impl AsFd for Process {
    /// Readable when the process ends.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn listen(mut stderr: impl Read) -> Vec<u8> {
    let (mut said, mut total, mut buffer) = (vec![], 0, [0; 4096]);
    while total < MAX_BYTES {
        match stderr.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                total += count;
                let room = KEPT_BYTES - said.len();
                said.extend(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    said
}

/// The first line of a process's message, cleaned, without "launch: cannot copy".
pub(super) fn words(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    let line = line.strip_prefix("launch: ").unwrap_or(line);
    let line = line.strip_prefix("cannot copy ").unwrap_or(line);
    Some(Untrusted::from(line).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_is_bounded_and_cannot_drive_a_terminal() {
        assert_eq!(listen(std::io::repeat(b'x')).len(), KEPT_BYTES);
        let said = "\n\nlaunch: cannot copy /a\u{1b}]0;title\u{7}\u{9b}2J: no\nmore".as_bytes();
        let told = "/a\u{fffd}]0;title\u{fffd}\u{fffd}2J: no";
        assert_eq!(words(said).as_deref(), Some(told));
        assert_eq!(words(b"x\xff\r").as_deref(), Some("x\u{fffd} "));
        assert_eq!(words(b" \n"), None);
        assert!(words(&[b'y'; 9999]).unwrap().len() < 2000);
    }

    #[test]
    fn a_process_that_does_not_end_is_killed_after_its_time() {
        let interrupt = Interrupt::catch().unwrap();
        let process = Process::start(Command::new("sleep").arg("1000")).unwrap();
        let (status, _) = process.end(&interrupt, Some(Duration::from_millis(10))).unwrap();
        assert!(!status.success());
        let process = Process::start(Command::new("sh").args(["-c", "echo why >&2; exit 3"]));
        let (status, said) = process.unwrap().end(&interrupt, None).unwrap();
        assert_eq!((status.code(), &said[..]), (Some(3), &b"why\n"[..]));
    }
}
