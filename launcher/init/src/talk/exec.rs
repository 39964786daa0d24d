//! A further process beside the app: `launch exec`.

use super::input::{Input, Target};
use super::line::{Line, Over};
use super::{FRAME_BYTES, MAX_PENDING, Talk};
use crate::boot;
use crate::children::Ended;
use crate::failure::{Failure, OrFail};
use crate::spawn::{Streams, spawn};
use crate::terminal::Terminal;
use contract::Exit;
use contract::talk::{Answer, Ask, Exec};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

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
            let message = message.into();
            line.send(&Answer::Exited(Exit::NotStarted { code, message }));
        }
    }
    line.finish()
}

struct Running {
    pid: Pid,
    ended: Arc<Ended>,
    input: Input,
    outputs: Vec<Output>,
}

struct Output {
    file: Arc<OwnedFd>,
    answer: fn(Vec<u8>) -> Answer,
}

fn start(talk: &Talk, exec: &Exec) -> Result<Running, Failure> {
    let program = boot::program(&exec.process, &talk.hostname)?;
    let uid = program.user.uid;
    let begin = |streams: Streams<'_>| talk.children.start(|| spawn(&program, streams));
    let running =
        |(pid, ended), input, outputs| Running { pid, ended, input: Input::new(input), outputs };
    if let Some(size) = exec.terminal {
        let Terminal { ours, theirs } = Terminal::open(uid, size)?;
        let file = Arc::new(ours);
        let started = begin(Streams::terminal(theirs.as_fd()))?;
        let outputs = vec![Output { file: Arc::clone(&file), answer: Answer::Stdout }];
        return Ok(running(started, Some(Target { file, is_terminal: true }), outputs));
    }
    let (stdin, to_stdin) = match exec.stdin {
        true => {
            let (theirs, ours) = pipe()?;
            rustix::io::ioctl_fionbio(&ours, true).or_fail(|| "set up a pipe".into())?;
            (theirs, Some(Target { file: Arc::new(ours), is_terminal: false }))
        }
        false => {
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let null = open("/dev/null", flags, Mode::empty());
            (null.or_fail(|| "open /dev/null".into())?, None)
        }
    };
    let (from_stdout, stdout) = boot::output_pipe(uid)?;
    let (from_stderr, stderr) = boot::output_pipe(uid)?;
    let streams = Streams {
        stdin: stdin.as_fd(),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        is_terminal: false,
    };
    let started = begin(streams)?;
    let outputs = vec![
        Output { file: Arc::new(from_stdout), answer: Answer::Stdout },
        Output { file: Arc::new(from_stderr), answer: Answer::Stderr },
    ];
    Ok(running(started, to_stdin, outputs))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).or_fail(|| "make a pipe".into())
}

impl Running {
    fn pump(&mut self, talk: &Talk, line: &mut Line<'_>) -> Result<Exit, Over> {
        loop {
            while let Some(ask) = line.receive()? {
                self.obey(talk, ask)?;
            }
            self.input.give(line);
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
            Ask::Stdin(bytes) => self.input.add(&bytes)?,
            Ask::StdinEnd => self.input.end(),
            Ask::Signal(number) => talk.children.signal(self.pid, number),
            Ask::Resize(size) => self.input.resize(size),
        }
        Ok(())
    }

    /// Takes what output there is, as far as it can be sent; says whether there may be more.
    fn collect(&mut self, line: &mut Line<'_>) -> bool {
        let mut more = false;
        self.outputs.retain(|output| {
            while line.pending() < MAX_PENDING {
                let mut buffer = vec![0; FRAME_BYTES];
                match read(&*output.file, &mut buffer[..]) {
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
        let mut fds = vec![];
        if !has_ended {
            fds.push(PollFd::new(&*self.ended, PollFlags::IN));
        }
        fds.extend(self.input.room());
        if line.pending() < MAX_PENDING {
            fds.extend(self.outputs.iter().map(|output| PollFd::new(&*output.file, PollFlags::IN)));
        }
        line.sleep(fds)
    }
}
