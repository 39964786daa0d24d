//! The app's namespaces: it is PID 1 among its own processes, has its own mounts, and sees neither
//! `init` nor the kernel's threads. `spawn` makes them; what runs beside the app joins them here.

use crate::failure::{Failure, OrFail};
use rustix::io::Errno;
use rustix::thread::{
    ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe,
};
use std::os::fd::BorrowedFd;
use std::thread::{self, Builder};

/// The stack of the thread that joins: it reads the user database and starts a process.
const STACK_BYTES: usize = 256 << 10;

/// Does `work` inside the namespaces of `app` (a pidfd): files are the app's, and a process that
/// it starts is one of the app's, though still a child of this process.
///
/// A thread of its own does it, because one that starts processes elsewhere can start no threads,
/// and has a root of its own.
///
/// # Errors
/// The app has ended, or what `work` returned.
pub fn beside<T: Send>(
    app: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let joined = || {
        join(app).or_fail(|| "join the app".into())?;
        work()
    };
    thread::scope(|scope| {
        let thread = Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, joined);
        let thread = thread.or_fail(|| "start a thread".into())?;
        thread.join().unwrap_or_else(|_| Err(Failure::set_up("joining the app broke off")))
    })
}

fn join(app: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: files stay shared, and with them all descriptors; only root and working directory
    // become this thread's own.
    unsafe { unshare_unsafe(UnshareFlags::FS)? };
    move_into_thread_name_spaces(app, ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::PROCESS_ID)
}
