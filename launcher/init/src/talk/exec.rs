//! A further process beside the app: `launch exec`.

use super::Talk;
use super::line::{Line, Over};
use crate::boot;
use crate::children::Ended;
use crate::failure::{Failure, OrFail};
use crate::spawn::{Streams, spawn};
use crate::terminal::{self, Terminal};
use contract::Exit;
use contract::talk::{Answer, Ask, Exec, STDIN_WINDOW};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, open};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Output that waits for room in the ring; beyond it the process waits.
const MAX_PENDING: usize = 64 << 10;
/// The most output in one frame.
const FRAME_BYTES: usize = 16 << 10;
/// Input that the process took is told in such steps.
const TAKEN_STEP: u32 = STDIN_WINDOW / 4;

/// Runs the process until it has ended or the client has gone. A process whose client has gone
/// goes on without its streams.
pub(super) fn run(talk: &Talk, line: &mut Line<'_>, exec: &Exec) -> Result<(), Over> {
    match start(talk, exec) {
        Ok(mut running) => {
            line.send(&Answer::Started);
            let exit = running.pump(talk, line)?;
            line.send(&Answer::Exited(exit));
        }
        Err(Failure { code, message }) => {
            line.send(&Answer::Exited(Exit::NotStarted { code, message }));
        }
    }
    line.finish()
}

struct Running {
    pid: Pid,
    ended: Arc<Ended>,
    /// Where its input goes, until it is closed.
    stdin: Option<OwnedFd>,
    /// Input that it has not taken yet, and whether more is to come.
    input: Vec<u8>,
    input_ends: bool,
    /// How much it took since that was told.
    taken: u32,
    outputs: Vec<Output>,
    has_terminal: bool,
}

struct Output {
    file: OwnedFd,
    answer: fn(Vec<u8>) -> Answer,
}

fn start(talk: &Talk, exec: &Exec) -> Result<Running, Failure> {
    let program = boot::program(&exec.process, &talk.hostname)?;
    let uid = program.user.uid;
    let begin = |streams: Streams<'_>| talk.children.start(|| spawn(&program, streams));
    let running = |(pid, ended), stdin, outputs| Running {
        pid,
        ended,
        stdin,
        input: vec![],
        input_ends: !exec.stdin,
        taken: 0,
        outputs,
        has_terminal: exec.terminal.is_some(),
    };
    if let Some(size) = exec.terminal {
        let Terminal { ours, theirs } = Terminal::open(uid, size)?;
        let stdin = ours.try_clone().or_fail(|| "copy a terminal's descriptor".into())?;
        let started = begin(Streams::terminal(theirs.as_fd()))?;
        let outputs = vec![Output { file: ours, answer: Answer::Stdout }];
        return Ok(running(started, Some(stdin), outputs));
    }
    let (stdin, to_stdin) = match exec.stdin {
        true => {
            let (theirs, ours) = pipe()?;
            rustix::io::ioctl_fionbio(&ours, true).or_fail(|| "set up a pipe".into())?;
            (theirs, Some(ours))
        }
        false => {
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let null = open("/dev/null", flags, Mode::empty());
            (null.or_fail(|| "open /dev/null".into())?, None)
        }
    };
    let (from_stdout, stdout) = output_pipe(uid)?;
    let (from_stderr, stderr) = output_pipe(uid)?;
    let streams = Streams {
        stdin: stdin.as_fd(),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        is_terminal: false,
    };
    let started = begin(streams)?;
    let outputs = vec![
        Output { file: from_stdout, answer: Answer::Stdout },
        Output { file: from_stderr, answer: Answer::Stderr },
    ];
    Ok(running(started, to_stdin, outputs))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).or_fail(|| "make a pipe".into())
}

/// A pipe to read from without waiting, whose other end user `uid` may open anew.
fn output_pipe(uid: u32) -> Result<(OwnedFd, OwnedFd), Failure> {
    let (ours, theirs) = pipe()?;
    let owned = match uid {
        0 => Ok(()),
        uid => fchown(&theirs, Some(Uid::from_raw(uid)), None::<Gid>),
    };
    owned.and_then(|()| rustix::io::ioctl_fionbio(&ours, true)).or_fail(|| "set up a pipe".into())?;
    Ok((ours, theirs))
}

impl Running {
    fn pump(&mut self, talk: &Talk, line: &mut Line<'_>) -> Result<Exit, Over> {
        loop {
            while let Some(ask) = line.receive()? {
                self.obey(talk, ask)?;
            }
            self.feed(line);
            // The question comes before the last look at the output.
            let exit = self.ended.exit();
            let more = self.collect(line);
            line.flush()?;
            match exit {
                // What it left running may hold its output open for ever.
                Some(exit) if !more => return Ok(exit),
                exit => self.sleep(line, exit.is_some())?,
            }
        }
    }

    fn obey(&mut self, talk: &Talk, ask: Ask) -> Result<(), Over> {
        match ask {
            Ask::Hello(_) => return Err(Over),
            Ask::Stdin(bytes) => {
                if self.input_ends || self.input.len() + bytes.len() > STDIN_WINDOW as usize {
                    return Err(Over);
                }
                self.input.extend(bytes);
            }
            Ask::StdinEnd => self.input_ends = true,
            Ask::Signal(number) => talk.children.signal(self.pid, number),
            Ask::Resize(size) => {
                if let Some(stdin) = self.stdin.as_ref().filter(|_| self.has_terminal) {
                    terminal::resize(stdin, size);
                }
            }
        }
        Ok(())
    }

    /// Gives the process its input, as far as it takes it.
    fn feed(&mut self, line: &mut Line<'_>) {
        while let Some(stdin) = self.stdin.as_ref().filter(|_| !self.input.is_empty()) {
            match write(stdin, &self.input) {
                Ok(count) => self.took(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // It has closed it.
                Err(_) => self.stdin = None,
            }
        }
        if self.stdin.is_none() {
            self.took(self.input.len());
        }
        // A terminal stays: it is where output comes from, too.
        if self.input_ends && self.input.is_empty() && !self.has_terminal {
            self.stdin = None;
        }
        if self.taken >= TAKEN_STEP || (self.taken > 0 && self.input.is_empty()) {
            line.send(&Answer::Taken(self.taken));
            self.taken = 0;
        }
    }

    fn took(&mut self, count: usize) {
        self.input.drain(..count);
        self.taken += u32::try_from(count).unwrap_or(STDIN_WINDOW);
    }

    /// Takes what output there is, as far as it can be sent; says whether there may be more.
    fn collect(&mut self, line: &mut Line<'_>) -> bool {
        let mut more = false;
        self.outputs.retain(|output| {
            while line.pending() < MAX_PENDING {
                let mut buffer = vec![0; FRAME_BYTES];
                match read(&output.file, &mut buffer[..]) {
                    Ok(0) => return false,
                    Ok(count) => {
                        buffer.truncate(count);
                        line.send(&(output.answer)(buffer));
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return true,
                    // A terminal that nobody has open any more.
                    Err(_) => return false,
                }
            }
            more = true;
            true
        });
        more
    }

    fn sleep(&self, line: &mut Line<'_>, has_ended: bool) -> Result<(), Over> {
        let mut fds = vec![PollFd::from_borrowed_fd(line.vchan.as_fd(), PollFlags::IN)];
        if !has_ended {
            fds.push(PollFd::new(&*self.ended, PollFlags::IN));
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| !self.input.is_empty()) {
            fds.push(PollFd::new(stdin, PollFlags::OUT));
        }
        if line.pending() < MAX_PENDING {
            fds.extend(self.outputs.iter().map(|output| PollFd::new(&output.file, PollFlags::IN)));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Err(Over),
        }
        let told = !fds[0].revents().is_empty();
        drop(fds);
        if told {
            line.vchan.wait(Some(Duration::ZERO))?;
        }
        Ok(())
    }
}
