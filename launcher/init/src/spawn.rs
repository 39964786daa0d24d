//! Starts the app and what runs beside it: the one place where a new process is made.
//!
//! The child borrows this process's memory until it has turned into the app (`CLONE_VM` and
//! `CLONE_VFORK`). No page tables are copied, which is dear for a PV domain, and the child can
//! say by a plain store what went wrong.

use crate::failure::{Failure, cause};
use crate::file_systems::NO_FILES;
use crate::program::Program;
use crate::reaper;
use contract::Limit;
use rustix::fs::Gid;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount, unmount};
use rustix::process::{Pid, Uid, chdir, getpid, ioctl_tiocsctty, setpgid, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::tcsetpgrp;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

/// Stack of the child until it is the app; it calls little and nothing that recurses.
const STACK_WORDS: usize = 64 * 1024 / size_of::<u128>();

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug)]
enum Step {
    Proc,
    Session,
    Limit(u32),
    Streams,
    Cwd,
    Groups,
    Uid,
    Reaper,
    /// No candidate could be run; the one that tells why, if any exists.
    Program(Option<usize>),
}

/// Where a new process is put.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// Namespaces of its own, in which it is PID 1.
    Pid1,
    /// The same, but with this program as PID 1 and the process as its child.
    BehindReaper(BorrowedFd<'a>),
    /// The namespaces of the thread that starts it.
    Here,
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
    place: Place<'a>,
    /// The end of the stack of the app's own process, where the child becomes its reaper.
    inner_stack: *mut libc::c_void,
    failure: Option<(Step, Errno)>,
}

/// Runs `program` in a session of its own, with default signal handling. Returns the process that
/// is to be waited for.
///
/// # Errors
/// Anything that keeps it from running, with Docker's code for it.
pub fn spawn(program: &Program, streams: Streams<'_>, place: Place<'_>) -> Result<Pid, Failure> {
    let (stacks, namespaces) = match place {
        Place::Pid1 => (1, libc::CLONE_NEWPID | libc::CLONE_NEWNS),
        Place::BehindReaper(_) => (2, libc::CLONE_NEWPID | libc::CLONE_NEWNS),
        Place::Here => (1, 0),
    };
    let mut stack = vec![0u128; stacks * STACK_WORDS];
    let mut child = Child {
        program,
        args: pointers(&program.args),
        env: pointers(&program.env),
        groups: program.user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect(),
        streams,
        place,
        inner_stack: stack[..STACK_WORDS].as_mut_ptr_range().end.cast(),
        failure: None,
    };
    // SAFETY: the stack is aligned, grows down from its end and outlives the child's use of it,
    // because CLONE_VFORK stops this thread until the child has run another program or ended.
    // For the same reason nothing else touches `child` meanwhile, and the child, which never
    // returns from `run_child` but by ending, leaves no borrow behind.
    let pid = unsafe {
        libc::clone(
            run_child,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | namespaces,
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
        Step::Proc => "mount /proc for the app".to_owned(),
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
        Step::Reaper => "start the init of --init".to_owned(),
    };
    Failure::set_up(format!("cannot {what}: {}", cause(errno)))
}

/// The child's whole life up to the app. It shares memory with its parent, so it only makes
/// system calls and stores to `Child`; no allocation, no locks.
extern "C" fn run_child(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` passes its own live `Child` and does nothing with it until we end.
    let child = unsafe { &mut *argument.cast::<Child<'_>>() };
    let ready = match child.place {
        Place::Here => Ok(()),
        Place::Pid1 | Place::BehindReaper(_) => {
            mount_own_proc().map_err(|errno| (Step::Proc, errno))
        }
    };
    let failure = match (ready.and_then(|()| become_user(child)), child.place) {
        (Ok(()), Place::BehindReaper(own)) => run_behind_reaper(child, own),
        (Ok(()), _) => run_first(child),
        (Err(failure), _) => failure,
    };
    fail(child, failure)
}

/// Leaves word of what went wrong, and ends this process.
fn fail(child: &mut Child<'_>, failure: (Step, Errno)) -> ! {
    // SAFETY: a plain store; volatile because this process ends without the compiler seeing a reader.
    unsafe { ptr::write_volatile(&raw mut child.failure, Some(failure)) };
    // SAFETY: ends this process at once; the parent's state is not touched.
    unsafe { libc::_exit(1) }
}

/// Puts the `/proc` of this process's namespace in the place of that which shows `init`.
fn mount_own_proc() -> Result<(), Errno> {
    unmount(c"/proc", UnmountFlags::DETACH)?;
    mount(c"proc", c"/proc", c"proc", NO_FILES, None)
}

/// Starts the app as a child of this process, which then turns into its reaper.
fn run_behind_reaper(child: &mut Child<'_>, own: BorrowedFd<'_>) -> (Step, Errno) {
    // Signals wait until the reaper takes them; in the app's process they are set back to default.
    set_blocked(true);
    // SAFETY: as in `spawn`, whose thread waits too; the stack lies below this process's own.
    let pid = unsafe {
        libc::clone(
            run_inner,
            child.inner_stack,
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            ptr::from_mut(child).cast(),
        )
    };
    if pid < 0 {
        return (Step::Reaper, last_errno());
    }
    // SAFETY: `child` is live; volatile because another process may have written to it.
    if let Some(failure) = unsafe { ptr::read_volatile(&raw const child.failure) } {
        return failure;
    }
    let args = [reaper::NAME.as_ptr(), ptr::null()];
    (Step::Reaper, run_open(own, &args, &child.env))
}

/// The life of a process behind a reaper, up to the app: in the foreground of its terminal.
extern "C" fn run_inner(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `run_behind_reaper` passes its own live `Child` and does nothing with it until we end.
    let child = unsafe { &mut *argument.cast::<Child<'_>>() };
    let Streams { stdin, is_terminal, .. } = child.streams;
    let grouped = setpgid(None, None)
        .and_then(|()| if is_terminal { tcsetpgrp(stdin, getpid()) } else { Ok(()) });
    let failure = match grouped {
        Ok(()) => run_first(child),
        Err(errno) => (Step::Session, errno),
    };
    fail(child, failure)
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
        _ => Err(last_errno()),
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// Runs the first candidate that can be run. Returns only if there is none.
fn run_first(child: &Child<'_>) -> (Step, Errno) {
    default_signals();
    if let Some(file) = &child.program.file {
        return (Step::Program(None), run_open(file.as_fd(), &child.args, &child.env));
    }
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
    last_errno()
}

/// Runs an open file. Both arrays end with a null pointer.
fn run_open(
    file: BorrowedFd<'_>,
    args: &[*const libc::c_char],
    env: &[*const libc::c_char],
) -> Errno {
    let (file, args, env) = (file.as_raw_fd(), args.as_ptr(), env.as_ptr());
    let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: the strings of both null-terminated arrays outlive this call.
    unsafe { libc::syscall(libc::SYS_execveat, file, path, args, env, flags) };
    last_errno()
}

/// Undoes what a process keeps when it runs a program: blocked and ignored signals.
fn default_signals() {
    // SAFETY: this process has its own handler table (no CLONE_SIGHAND).
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    set_blocked(false);
}

/// Blocks all signals of this process, or none.
fn set_blocked(all: bool) {
    // SAFETY: this process has its own mask; a zeroed set is an empty one, and is filled where asked for.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        if all {
            libc::sigfillset(&raw mut set);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}
