//! The reader's process: how it is made, named, and ended.
#![expect(
    unsafe_code,
    reason = "std has neither fork nor a way to close files that it does not know"
)]

use crate::monitor::channel::Channel;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

/// How the process is called in lists of processes: another name than the keeper's, which is the one to look for.
const NAME: &str = "launch-reader";

/// The reader, as its parent has it. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    ended: bool,
    pub(super) channel: Channel,
}

impl Process {
    /// Forks a process that runs `body` with its end of the channel, and ends with the code that it returns.
    ///
    /// A fork, and not another program, as the two share their memory until one of them changes it: there are two
    /// for each app. The caller must be the only thread of this process. `body` must call [`keep_only`] first.
    pub(super) fn start(body: impl FnOnce(Channel) -> u8) -> io::Result<Self> {
        let (channel, others) = Channel::pair()?;
        // SAFETY: there is one thread, so no lock of the allocator or anything else is held by a thread that the
        // child does not have.
        match unsafe { libc::fork() } {
            0 => {
                // Nothing of the parent's may run in the child, also where it panics.
                let _never_return = AbortOnUnwind;
                drop(channel);
                std::process::exit(i32::from(body(others)))
            }
            pid => match Pid::from_raw(pid).filter(|_| pid > 0) {
                Some(pid) => Ok(Self { pid, ended: false, channel }),
                None => Err(io::Error::last_os_error()),
            },
        }
    }

    /// Its number.
    #[cfg(test)]
    pub(super) fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for its end, which must be near; returns why if it is none of its own will.
    pub(super) fn wait(&mut self) -> Option<String> {
        self.ended = true;
        let status = loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(Some((_, status))) => break status,
                Ok(None) | Err(_) => return None,
            }
        };
        match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) => Some(format!("signal {signal} ended it")),
            (_, Some(code)) if code != 0 => Some(format!("it ended with code {code}")),
            _ => None,
        }
    }

    /// Kills it, and waits for its end.
    pub(super) fn kill(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        // It is this process's child and was not waited for, so the number is its own.
        let _ = kill_process(self.pid, Signal::KILL);
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Makes this process, a new child that will never return to its parent's code, one of its own: its name, no
/// standard input, and of all files only standard output and error and `kept`.
///
/// # Errors
/// The parent's files cannot be closed; the lock of the app is among them.
pub(super) fn keep_only(id: &str, kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    take_name(id);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let mut kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([RawFd::MAX]) {
        if first < fd {
            let range = (first.unsigned_abs(), fd.unsigned_abs() - 1);
            // SAFETY: values that own these files are in memory that was the parent's. The child does not return
            // to code that uses them, and ends without dropping them.
            if unsafe { libc::close_range(range.0, range.1, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Changes what lists of processes show of this one. Fails without harm.
fn take_name(id: &str) {
    let line: &'static [u8] = Vec::leak(format!("{NAME}\0{id}\0").into_bytes());
    let (start, end) = (line.as_ptr(), line.as_ptr_range().end);
    let set = |what: libc::c_int, address: *const u8| {
        // SAFETY: the kernel notes the address, and later reads what is there, which stays.
        unsafe {
            libc::prctl(libc::PR_SET_MM, what, address, 0 as libc::c_ulong, 0 as libc::c_ulong)
        }
    };
    // The heap lies below the stack, where the line was: the start first, or it would be above the end.
    if set(libc::PR_SET_MM_ARG_START, start) == 0 {
        set(libc::PR_SET_MM_ARG_END, end);
    }
    let _ = rustix::thread::set_name(c"launch-reader");
}
