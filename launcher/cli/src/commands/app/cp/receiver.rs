//! The process that reads what a guest sends. It may only write to standard output and below the one folder that it is
//! started in.

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

/// The first argument that makes this program a receiver; the second is a [`Job`] as JSON.
pub(crate) const ROLE: &str = "__receive";
/// The name of the top entry in the folder that the receiver is started in.
pub(super) const NAME: &str = "copy";
/// The most memory of a receiver in bytes, many times what it needs.
const MAX_MEMORY: u64 = 256 << 20;
/// The most open files beside one for each folder.
const OTHER_FILES: u64 = 32;
/// More than a record of data, so that each record takes one system call.
const BUFFER_BYTES: usize = 128 << 10;

/// A receiver's task.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// If set, the receiver writes a tar to standard output, with this name for the top entry. Otherwise it writes a
    /// tree named [`NAME`] into the folder that it is started in.
    pub(super) tar: Option<PathBuf>,
    /// See [`Limits::bytes`].
    pub(super) max_bytes: u64,
    /// See [`Limits::entries`].
    pub(super) max_entries: u64,
    /// See [`Limits::depth`].
    pub(super) max_depth: usize,
    /// Whether the receiver continues if the kernel lacks Landlock or seccomp.
    pub(super) allow_unsandboxed: bool,
}

/// A receiver's final report on its standard error.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// Why the copy is incomplete.
    error: Option<Untrusted>,
    /// Whether the guest's stream was cut; then the guest may know the reason.
    is_cut: bool,
    /// Whether the limit of bytes was exceeded.
    is_too_large: bool,
    left_out: u64,
    first_left_out: Option<(Untrusted, Untrusted)>,
    /// The protections that the kernel lacks, if the receiver continued without them.
    missing: Option<Untrusted>,
}

/// How a receiver ended.
pub(super) enum Received {
    /// The copy is complete; with notes for the user.
    Whole(Vec<String>),
    /// The guest's stream was cut.
    Cut(String),
    /// The guest sent more bytes than allowed.
    TooLarge(String),
    /// Another failure.
    Failed(String),
}

/// Starts a receiver that reads `stream`, in the folder `place` or for standard output.
pub(super) fn start(stream: ChildStdout, job: &Job, place: Option<&Path>) -> Result<Process> {
    let launch = std::env::current_exe().context("cannot find launch")?;
    let mut command = Command::new(launch);
    command.arg(ROLE).arg(serde_json::to_string(job)?).env_clear().stdin(stream);
    match place {
        Some(place) => command.current_dir(place).stdout(Stdio::null()),
        None => command.current_dir("/").stdout(Stdio::inherit()),
    };
    sandbox::close_on_exec_from(3).context("cannot close files for the receiver")?;
    Process::start(&mut command)
}

/// The result of a receiver that has ended.
pub(super) fn outcome(status: ExitStatus, said: &[u8]) -> Received {
    let Ok(report) = serde_json::from_slice::<Report>(said) else {
        let how = match status.signal() {
            Some(signal) => format!("was killed by signal {signal}"),
            None => format!("ended with {status} and without a result"),
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
            format!("the guest's files were read with an incomplete sandbox, which lacks {missing}")
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

/// Runs the receiver. `main` must call it before any thread is started.
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
        LeftOut::KernelFiles => "its files are made by the guest's kernel",
    }
}

/// The error and its causes, in the system's words without error numbers.
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

/// Does the job. Also returns the needed fences that the kernel lacks.
fn receive(job: Option<&str>) -> Result<(Summary, Option<Gaps>)> {
    let job: Job = serde_json::from_str(job.context("only launch cp can start this")?)?;
    let stream = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let place = open_place(Path::new("."))?.context("the folder no longer exists")?;
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

/// Gives up rights. Returns the missing fences if the job allows that.
fn give_up_rights(job: &Job, place: &OwnedFd) -> Result<Option<Gaps>> {
    // If memory is short, the kernel should end this process before a monitor. A failure does no harm.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let files = u64::try_from(job.max_depth).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let files = files.min(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
    let places = [(place.as_fd(), Access::Write)];
    let sandbox = Sandbox {
        // The copy must belong to the user who copies.
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
            // Not needed: no allowed call makes a socket or sends a signal.
            needed: &[],
        },
        calls: Calls {
            allowed: &[ALLOWED],
            checked: &[
                // Only the times of an open file.
                (libc::SYS_utimensat, &[&[Test::Null { argument: 1 }]]),
                // Only pipes, no devices.
                (libc::SYS_mknodat, &[&[PIPE]]),
            ],
            deadly: DEADLY,
        },
    };
    match sandbox.enter() {
        Ok(_) => Ok(None),
        Err(SandboxError::Gaps(gaps)) if job.allow_unsandboxed => Ok(Some(gaps)),
        Err(SandboxError::Gaps(gaps)) => Err(anyhow!(
            "this kernel lacks {gaps}; the guest's files are not read without it; to allow that, set \
             allow_unsandboxed_fetch in [image] of the settings"
        )),
        Err(error) => bail!(line(&error)),
    }
}

/// The mode of `mknodat` for a pipe.
const PIPE: Test = Test::Masked { argument: 2, mask: libc::S_IFMT, value: libc::S_IFIFO };

/// The calls for reading, and for writing files below the folder.
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
    // For memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // For the end.
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

/// Calls that only an intruder makes.
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
