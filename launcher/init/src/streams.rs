//! Standard streams of the app and of other processes: pipes, or a terminal.

use crate::failure::{Failure, OrFail};
use crate::spawn::Streams;
use crate::terminal::Terminal;
use contract::Stream;
use contract::talk::Size;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, open};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What a process wants for standard streams.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One terminal of this size for all three.
    Terminal(Size),
    /// A pipe each for output and errors.
    Pipes {
        /// Whether input comes through a pipe too; otherwise it is `/dev/null`.
        stdin: bool,
    },
}

/// Where a process's input goes. Writing to it does not block.
#[derive(Clone, Debug)]
pub struct Target {
    /// The writing end of a pipe, or `init`'s end of a terminal.
    pub file: Arc<OwnedFd>,
    /// Which of both.
    pub is_terminal: bool,
}

/// Both ends of a process's standard streams.
#[derive(Debug)]
pub struct Stdio {
    /// Where its input goes, if it has any.
    pub input: Option<Target>,
    /// Where its output comes from. Reading from it does not block.
    pub outputs: Vec<(Stream, OwnedFd)>,
    theirs: Theirs,
}

/// The process's ends.
#[derive(Debug)]
enum Theirs {
    Terminal(OwnedFd),
    Files { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
}

impl Stdio {
    /// Makes streams that belong to user `uid`.
    ///
    /// # Errors
    /// There are too many, or the image's root has no `/dev/pts`.
    pub fn open(kind: Kind, uid: u32) -> Result<Self, Failure> {
        match kind {
            Kind::Terminal(size) => Self::terminal(size, uid),
            Kind::Pipes { stdin } => Self::pipes(stdin, uid),
        }
    }

    fn terminal(size: Size, uid: u32) -> Result<Self, Failure> {
        let Terminal { ours, theirs } = Terminal::open(uid, size)?;
        let output = ours.try_clone().or_fail(|| "copy a terminal's descriptor".into())?;
        Ok(Self {
            input: Some(Target { file: Arc::new(ours), is_terminal: true }),
            outputs: vec![(Stream::Stdout, output)],
            theirs: Theirs::Terminal(theirs),
        })
    }

    fn pipes(has_input: bool, uid: u32) -> Result<Self, Failure> {
        let (stdin, input) = if has_input {
            let (theirs, ours) =
                pipe_with(PipeFlags::CLOEXEC).or_fail(|| "make a pipe for input".into())?;
            rustix::io::ioctl_fionbio(&ours, true)
                .or_fail(|| "make the input pipe non-blocking".into())?;
            (theirs, Some(Target { file: Arc::new(ours), is_terminal: false }))
        } else {
            let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            (null.or_fail(|| "open /dev/null".into())?, None)
        };
        let (from_stdout, stdout) = output_pipe(uid)?;
        let (from_stderr, stderr) = output_pipe(uid)?;
        Ok(Self {
            input,
            outputs: vec![(Stream::Stdout, from_stdout), (Stream::Stderr, from_stderr)],
            theirs: Theirs::Files { stdin, stdout, stderr },
        })
    }

    /// What the process is started with. Its ends must be closed here afterwards, or its output
    /// never ends.
    #[must_use]
    pub fn streams(&self) -> Streams<'_> {
        match &self.theirs {
            Theirs::Terminal(terminal) => Streams::terminal(terminal.as_fd()),
            Theirs::Files { stdin, stdout, stderr } => Streams {
                stdin: stdin.as_fd(),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
                is_terminal: false,
            },
        }
    }
}

/// A pipe for output: `init`'s end, which does not block, and the process's.
///
/// # Errors
/// There are too many.
fn output_pipe(uid: u32) -> Result<(OwnedFd, OwnedFd), Failure> {
    let (ours, theirs) =
        pipe_with(PipeFlags::CLOEXEC).or_fail(|| "make a pipe for output".into())?;
    rustix::io::ioctl_fionbio(&ours, true)
        .or_fail(|| "make the output pipe non-blocking".into())?;
    // So that a process that does not run as root may open /dev/stdout again.
    if uid != 0 {
        fchown(&theirs, Some(Uid::from_raw(uid)), None::<Gid>)
            .or_fail(|| format!("give the output pipe to user {uid}"))?;
    }
    Ok((ours, theirs))
}
