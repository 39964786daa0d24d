//! Starts the app: the one place where a new process is made.
//!
//! The child borrows this process's memory until it has turned into the app (`CLONE_VM` and
//! `CLONE_VFORK`). No page tables are copied, which is dear for a PV domain, and the child can
//! say by a plain store what went wrong.

use crate::failure::{Failure, cause};
use crate::program::Program;
use contract::Limit;
use rustix::fs::Gid;
use rustix::io::Errno;
use rustix::process::{Pid, Uid, chdir, ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::ptr;

/// Stack of the child until it is the app; it calls little and nothing that recurses.
const STACK_WORDS: usize = 64 * 1024 / size_of::<u128>();

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug)]
enum Step {
    Session,
    Limit(u32),
    Streams,
    Cwd,
    Groups,
    Uid,
    /// No candidate could be run; the one that tells why, if any exists.
    Program(Option<usize>),
}

/// What a process has as its standard streams.
#[derive(Clone, Copy, Debug)]
pub struct Streams<'a> {
    /// Its input.
    pub stdin: BorrowedFd<'a>,
    /// Its output.
    pub stdout: BorrowedFd<'a>,
    /// Its errors.
    pub stderr: BorrowedFd<'a>,
    /// Whether the input is a terminal, which becomes the session's.
    pub is_terminal: bool,
}

impl<'a> Streams<'a> {
    /// All three on one terminal.
    #[must_use]
    pub fn terminal(file: BorrowedFd<'a>) -> Self {
        Self { stdin: file, stdout: file, stderr: file, is_terminal: true }
    }
}

struct Child<'a> {
    program: &'a Program,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    groups: Vec<Gid>,
    streams: Streams<'a>,
    failure: Option<(Step, Errno)>,
}

/// Runs `program` in a session of its own, with default signal handling.
///
/// # Errors
/// Anything that keeps it from running, with Docker's code for it.
pub fn spawn(program: &Program, streams: Streams<'_>) -> Result<Pid, Failure> {
    let mut child = Child {
        program,
        args: pointers(&program.args),
        env: pointers(&program.env),
        groups: program.user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect(),
        streams,
        failure: None,
    };
    let mut stack = vec![0u128; STACK_WORDS];
    // SAFETY: the stack is aligned, grows down from its end and outlives the child's use of it,
    // because CLONE_VFORK stops this thread until the child has run another program or ended.
    // For the same reason nothing else touches `child` meanwhile, and the child, which never
    // returns from `run_child` but by ending, leaves no borrow behind.
    let pid = unsafe {
        libc::clone(
            run_child,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut child).cast(),
        )
    };
    // SAFETY: `child` is a live local; the read must be volatile because the compiler does not
    // see that another process wrote to it.
    let failure = unsafe { ptr::read_volatile(&raw const child.failure) };
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        let error = std::io::Error::last_os_error();
        return Err(Failure::set_up(format!("cannot start a process: {}", cause(error))));
    };
    failure.map_or(Ok(pid), |(step, errno)| Err(explain(program, step, errno)))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

fn explain(program: &Program, step: Step, errno: Errno) -> Failure {
    let user = &program.user;
    let what = match step {
        Step::Program(tried) => return program.explain(errno, tried),
        Step::Limit(resource) => format!("set the limit number {resource} of the app"),
        Step::Session => "start a session".to_owned(),
        Step::Streams => "connect the standard streams".to_owned(),
        // The app's own is made if it is missing.
        Step::Cwd if errno == Errno::NOENT => {
            let cwd = program.cwd.to_string_lossy();
            return Failure::not_found(format!("no working directory {cwd}: {}", cause(errno)));
        }
        Step::Cwd => format!("enter the working directory {}", program.cwd.to_string_lossy()),
        Step::Groups => format!("take on group {} and its supplements", user.gid),
        Step::Uid => format!("take on user {}", user.uid),
    };
    Failure::set_up(format!("cannot {what}: {}", cause(errno)))
}

/// The child's whole life up to the app. It shares memory with its parent, so it only makes
/// system calls and stores to `Child`; no allocation, no locks.
extern "C" fn run_child(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` passes its own live `Child` and does nothing with it until we end.
    let child = unsafe { &mut *argument.cast::<Child<'_>>() };
    let failure = match become_user(child) {
        Ok(()) => run_first(child),
        Err(failure) => failure,
    };
    // SAFETY: as above; volatile because this process ends without the compiler seeing a reader.
    unsafe { ptr::write_volatile(&raw mut child.failure, Some(failure)) };
    // SAFETY: ends this process at once; the parent's state is not touched.
    unsafe { libc::_exit(1) }
}

fn become_user(child: &Child<'_>) -> Result<(), (Step, Errno)> {
    let user = &child.program.user;
    setsid().map_err(|errno| (Step::Session, errno))?;
    let Streams { stdin, stdout, stderr, is_terminal } = child.streams;
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .and_then(|()| if is_terminal { ioctl_tiocsctty(stdin) } else { Ok(()) })
        .map_err(|errno| (Step::Streams, errno))?;
    // As root, who may raise them.
    for limit in &child.program.limits {
        set_limit(limit).map_err(|errno| (Step::Limit(limit.resource), errno))?;
    }
    // As root, so that a folder that only root may enter can be the working directory.
    chdir(child.program.cwd.as_c_str()).map_err(|errno| (Step::Cwd, errno))?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    // These set the IDs of this thread alone, as the kernel has it: the C library's calls would
    // signal other threads, whose memory this process shares.
    set_thread_groups(&child.groups)
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .map_err(|errno| (Step::Groups, errno))?;
    set_thread_res_uid(uid, uid, uid).map_err(|errno| (Step::Uid, errno))
}

fn set_limit(limit: &Limit) -> Result<(), Errno> {
    let value = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: `value` lives on the child's own stack; a wrong resource is an error.
    match unsafe { libc::syscall(libc::SYS_setrlimit, limit.resource, &raw const value) } {
        0 => Ok(()),
        _ => {
            let errno = Errno::from_io_error(&std::io::Error::last_os_error());
            Err(errno.unwrap_or(Errno::INVAL))
        }
    }
}

/// Runs the first candidate that can be run. Returns only if there is none.
fn run_first(child: &Child<'_>) -> (Step, Errno) {
    default_signals();
    let mut denied = None;
    for (index, file) in child.program.candidates.iter().enumerate() {
        match run(file, child) {
            Errno::NOENT | Errno::NOTDIR => {}
            // Search on, as a shell does: a later folder may have one that can be run.
            Errno::ACCESS => denied = denied.or(Some(index)),
            errno => return (Step::Program(Some(index)), errno),
        }
    }
    match denied {
        Some(index) => (Step::Program(Some(index)), Errno::ACCESS),
        None => (Step::Program(None), Errno::NOENT),
    }
}

fn run(file: &CStr, child: &Child<'_>) -> Errno {
    // SAFETY: `file` and all strings in the two null-terminated arrays belong to `Program`, which
    // the parent keeps.
    unsafe { libc::execve(file.as_ptr(), child.args.as_ptr(), child.env.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOENT)
}

/// Undoes what a process keeps when it runs a program: blocked and ignored signals.
fn default_signals() {
    // SAFETY: this process has its own handler table (no CLONE_SIGHAND) and mask; a zeroed set
    // is an empty one.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}
