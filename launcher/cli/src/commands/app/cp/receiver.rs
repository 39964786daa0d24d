//! The process that reads what a guest sends. It has no rights but to write below the one folder that it
//! is started in, or to its standard output.

use super::process::{Process, words};
use super::tarball::Tarball;
use anyhow::{Context, Result, anyhow, bail};
use contract::Untrusted;
use copy::{CopyError, LeftOut, Limits, Rights, Summary, Top, Tree};
use rustix::process::{Resource, getrlimit};
use sandbox::{Access, Calls, Gaps, Landlock, Sandbox, SandboxError, Test, open_place};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitCode, ExitStatus, Stdio};

/// First argument of this program that makes it a receiver; the second is a [`Job`] as JSON.
pub(crate) const ROLE: &str = "__receive";
/// What the top entry is called in the folder that the receiver is started in.
pub(super) const NAME: &str = "copy";
/// Memory that a receiver can have, in bytes: many times what it takes.
const MAX_MEMORY: u64 = 256 << 20;
/// Files that it has open besides one for each folder.
const OTHER_FILES: u64 = 32;
/// More than a record of data, so that one takes one system call.
const BUFFER_BYTES: usize = 128 << 10;

/// What a receiver is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// To write a tar to standard output in which the top entry has this name; else a tree, as
    /// [`NAME`], into the folder that it is started in.
    pub(super) tar: Option<PathBuf>,
    /// See [`Limits::bytes`].
    pub(super) max_bytes: u64,
    /// See [`Limits::entries`].
    pub(super) max_entries: u64,
    /// See [`Limits::depth`].
    pub(super) max_depth: usize,
    /// Whether it continues if the kernel lacks Landlock or seccomp.
    pub(super) allow_unsandboxed: bool,
}

/// What a receiver reports at its end, on its standard error.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// Why it did not come to the end.
    error: Option<Untrusted>,
    /// Whether that is because the guest's stream was cut: then the guest may know why.
    is_cut: bool,
    /// Whether a limit of bytes was met.
    is_too_large: bool,
    left_out: u64,
    first_left_out: Option<(Untrusted, Untrusted)>,
    /// The protections that the kernel lacks, if it continued without them.
    missing: Option<Untrusted>,
}

/// How a receiver ended.
pub(super) enum Received {
    /// The copy is complete, with what the user should know about it.
    Whole(Vec<String>),
    /// The guest's stream has no end.
    Cut(String),
    /// The guest sends more bytes than are allowed.
    TooLarge(String),
    /// Anything else.
    Failed(String),
}

/// Starts a receiver of what comes out of `stream`, in the folder `place` or for standard output.
pub(super) fn start(stream: ChildStdout, job: &Job, place: Option<&Path>) -> Result<Process> {
    let launch = std::env::current_exe().context("cannot find launch")?;
    let mut command = Command::new(launch);
    command.arg(ROLE).arg(serde_json::to_string(job)?).env_clear().stdin(stream);
    match place {
        Some(place) => command.current_dir(place).stdout(Stdio::null()),
        None => command.current_dir("/").stdout(Stdio::inherit()),
    };
    sandbox::close_on_exec_from(3).context("cannot keep files from the receiver")?;
    Process::start(&mut command)
}

/// What a receiver that has ended came to.
pub(super) fn outcome(status: ExitStatus, said: &[u8]) -> Received {
    let Ok(report) = serde_json::from_slice::<Report>(said) else {
        let how = match status.signal() {
            Some(signal) => format!("was killed by signal {signal}"),
            None => format!("left with {status} and without a result"),
        };
        let said = words(said).map(|words| format!(": {words}")).unwrap_or_default();
        return Received::Failed(format!("the process that receives the files {how}{said}"));
    };
    let Some(error) = report.error else {
        let left_out = report.first_left_out.map(|(path, why)| match report.left_out {
            1 => format!("left out {path}: {why}"),
            count => format!("left out {count} entries, the first of them {path}: {why}"),
        });
        let missing = report.missing.map(|missing| {
            format!("what the guest sent was read without a whole sandbox, which lacks {missing}")
        });
        return Received::Whole(missing.into_iter().chain(left_out).collect());
    };
    let error = error.to_string();
    match report {
        Report { is_cut: true, .. } => Received::Cut(error),
        Report { is_too_large: true, .. } => Received::TooLarge(error),
        _ => Received::Failed(error),
    }
}

/// The body of the receiver: to be called from `main` before any thread is started.
pub(crate) fn run(job: Option<&str>) -> ExitCode {
    let report = match receive(job) {
        Ok((Summary { left_out, first_left_out, .. }, missing)) => {
            let first_left_out =
                first_left_out.map(|(path, why)| (path.as_path().into(), reason(why).into()));
            let missing = missing.map(|gaps| gaps.to_string().into());
            Report { left_out, first_left_out, missing, ..Report::default() }
        }
        Err(error) => {
            let copy = error.downcast_ref::<CopyError>();
            let limit = |error: &CopyError| {
                matches!(error, CopyError::Limit { limit: copy::Limit::Bytes(_), .. })
            };
            Report {
                is_cut: matches!(copy, Some(CopyError::Ended)),
                is_too_large: copy.is_some_and(limit),
                error: Some(line(error.as_ref()).into()),
                ..Report::default()
            }
        }
    };
    let is_whole = report.error.is_none();
    let told = serde_json::to_vec(&report).map(|json| io::stderr().write_all(&json));
    match (is_whole, told) {
        (true, Ok(Ok(()))) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn reason(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Socket => "sockets have no content",
        LeftOut::Device => "devices are not copied",
        LeftOut::KernelFiles => "what is in it are the guest kernel's own files",
    }
}

/// The error and its causes, in the system's words without their numbers.
fn line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let mut text = error.to_string();
        if let Some(end) = text.find(" (os error") {
            text.truncate(end);
        }
        if !line.is_empty() {
            line.push_str(": ");
            text.get_mut(..1).map(str::make_ascii_lowercase).unwrap_or_default();
        }
        line.push_str(&text);
        next = error.source();
    }
    line
}

/// Does the job; also says which fences the kernel lacks that are needed.
fn receive(job: Option<&str>) -> Result<(Summary, Option<Gaps>)> {
    let job: Job = serde_json::from_str(job.context("this is a part of launch cp")?)?;
    let stream = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let place = open_place(Path::new("."))?.context("the folder is gone")?;
    let missing = give_up_rights(&job, &place)?;

    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let kind = copy::read_preamble(&mut stream)?;
    let limits = Limits {
        bytes: job.max_bytes,
        entries: job.max_entries,
        depth: job.max_depth,
        holes_count: job.tar.is_some(),
    };
    let summary = match job.tar {
        Some(name) => {
            let out = BufWriter::with_capacity(BUFFER_BYTES, out);
            let mut tarball = Tarball::new(&name, out);
            let summary = copy::receive(stream, kind, &limits, &mut tarball)?;
            tarball.finish().context("cannot write the end of the tar")?;
            summary
        }
        None => {
            use rustix::fs::{CWD, Mode, OFlags, openat};
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat(CWD, ".", flags, Mode::empty())?;
            let rights = Rights { mode: 0o777, owners: false, follow: false };
            let mut tree = Tree::new(Top::Named { folder, name: NAME.into() }, rights);
            copy::receive(stream, kind, &limits, &mut tree)?
        }
    };
    Ok((summary, missing))
}

/// Returns the fences that are missing, where the job allows it.
fn give_up_rights(job: &Job, place: &OwnedFd) -> Result<Option<Gaps>> {
    // If memory is short, this process goes rather than a domain's monitor. Failure does no harm.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let files = u64::try_from(job.max_depth).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let files = files.min(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
    let places = [(place.as_fd(), Access::Write)];
    let sandbox = Sandbox {
        // What it writes belongs to who copies.
        user: None,
        dies_with_parent: true,
        limits: &[
            (sandbox::Resource::Core, 0),
            (sandbox::Resource::Nofile, files),
            (sandbox::Resource::As, MAX_MEMORY),
        ],
        landlock: Landlock {
            files: if job.tar.is_some() { &[] } else { &places },
            connect: Some(&[]),
            bind: Some(&[]),
            // No socket can be made, and no signal be sent: neither call is on the list.
            needed: &[],
        },
        calls: Calls {
            allowed: &[ALLOWED],
            checked: &[
                // The time of an open file, and of no other.
                (libc::SYS_utimensat, &[&[Test::Null { argument: 1 }]]),
                // Pipes, and no devices.
                (libc::SYS_mknodat, &[&[PIPE]]),
            ],
            deadly: DEADLY,
        },
    };
    match sandbox.enter() {
        Ok(_) => Ok(None),
        Err(SandboxError::Gaps(gaps)) if job.allow_unsandboxed => Ok(Some(gaps)),
        Err(SandboxError::Gaps(gaps)) => Err(anyhow!(
            "this kernel lacks {gaps}; what a guest sends is not read without that, unless \
             allow_unsandboxed_fetch in [image] of the settings says so"
        )),
        Err(error) => bail!(line(&error)),
    }
}

/// `mknodat`'s mode for a pipe.
const PIPE: Test = Test::Masked { argument: 2, mask: libc::S_IFMT, value: libc::S_IFIFO };

/// What reading, and writing files below the folder, takes.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fchmod,
    libc::SYS_fcntl,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // The end.
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls of intruders.
const DEADLY: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_ptrace,
    libc::SYS_socket,
    libc::SYS_mount,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
];
