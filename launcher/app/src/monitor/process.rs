//! The reader's process: starts, names and ends it.
#![expect(
    unsafe_code,
    reason = "std has neither fork nor a way to close files that it does not know"
)]

use crate::monitor::channel::Channel;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

/// The process's name in lists of processes. It differs from the keeper's, by which admins find a monitor.
const NAME: &str = "launch-reader";

/// The reader, as seen by its parent. Dropping this value kills the reader.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    ended: bool,
    pub(super) channel: Channel,
}

impl Process {
    /// Forks a process that runs `body` with its end of the channel, and exits with the code that `body` returns.
    ///
    /// It forks instead of running another program so that the two processes, of which there is a pair per app, share
    /// memory until one of them changes it. The caller must be the only thread of this process. `body` must call
    /// [`keep_only`] first.
    pub(super) fn start(body: impl FnOnce(Channel) -> u8) -> io::Result<Self> {
        let (channel, others) = Channel::pair()?;
        // SAFETY: there is only one thread, so no other thread holds a lock, such as the allocator's, at the fork.
        match unsafe { libc::fork() } {
            0 => {
                // Even if it panics, the child must not run the parent's code.
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

    /// The process's number.
    #[cfg(test)]
    pub(super) fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for the process, which must be about to end. Returns the cause unless the process ended successfully.
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

    /// Kills the process, and waits for its end.
    pub(super) fn kill(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        // The process is a child that was not waited for, so the number is still its own.
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

/// Sets up this process, a new child that never returns to its parent's code: sets its name, and closes its standard
/// input and all files except standard output, standard error and `kept`.
///
/// # Errors
/// The parent's files, among them the app's lock, cannot be closed.
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
            // SAFETY: the values that own these files are in memory copied from the parent. The child neither uses nor
            // drops them.
            if unsafe { libc::close_range(range.0, range.1, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Changes the command line that lists of processes show for this process. A failure does no harm.
fn take_name(id: &str) {
    let line: &'static [u8] = Vec::leak(format!("{NAME}\0{id}\0").into_bytes());
    let (start, end) = (line.as_ptr(), line.as_ptr_range().end);
    let set = |what: libc::c_int, address: *const u8| {
        // SAFETY: the kernel stores the address and later reads the bytes there, which are never freed.
        unsafe {
            libc::prctl(libc::PR_SET_MM, what, address, 0 as libc::c_ulong, 0 as libc::c_ulong)
        }
    };
    // The start first: the heap lies below the stack with the old line, so a new end would precede the old start.
    if set(libc::PR_SET_MM_ARG_START, start) == 0 {
        set(libc::PR_SET_MM_ARG_END, end);
    }
    let _ = rustix::thread::set_name(c"launch-reader");
}
