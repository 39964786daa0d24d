//! A further process beside the app: `launch exec`.

use super::connection::{Connection, Disconnected, FRAME_BYTES, MAX_PENDING};
use super::guest::Guest;
use super::input::Input;
use crate::children::Ended;
use crate::failure::Failure;
use crate::namespaces::beside;
use crate::program;
use crate::spawn::{Place, spawn};
use crate::streams::{Kind, Stdio};
use contract::talk::{Answer, Ask, Exec};
use contract::{Exit, Stream};
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, read};
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Runs the process until it has ended or the client has gone. A process whose client has gone
/// goes on without its streams.
pub(super) fn run(
    guest: &Guest,
    connection: &mut Connection<'_>,
    exec: Exec,
) -> Result<(), Disconnected> {
    let started = start(guest, &exec);
    // The process has its own copy of arguments and environment.
    drop(exec);
    match started {
        Ok(mut running) => {
            connection.send(&Answer::Started);
            let exit = running.pump(guest, connection)?;
            connection.send(&Answer::Exited(exit));
        }
        Err(Failure { code, message }) => {
            let message = message.into();
            connection.send(&Answer::Exited(Exit::NotStarted { code, message }));
        }
    }
    connection.finish()
}

struct Running {
    pid: Pid,
    ended: Arc<Ended>,
    input: Input,
    outputs: Vec<Output>,
}

struct Output {
    file: OwnedFd,
    answer: fn(Vec<u8>) -> Answer,
}

fn start(guest: &Guest, exec: &Exec) -> Result<Running, Failure> {
    let app = guest.children.app()?;
    let is_own = exec.process.args.first().is_some_and(|name| name == contract::copy::PROGRAM);
    let own = is_own.then(program::own).transpose()?;
    let kind = match exec.terminal {
        Some(size) => Kind::Terminal(size),
        None => Kind::Pipes { stdin: exec.stdin },
    };
    // User database, program and terminal are those that the app sees.
    let (stdio, (pid, ended)) = beside(app.as_fd(), || {
        let mut program = program::find(&exec.process, &guest.hostname)?;
        program.file = own;
        let stdio = Stdio::open(kind, program.user.uid)?;
        let started = guest.children.start(|| spawn(&program, stdio.streams(), Place::Here))?;
        Ok((stdio, started))
    })?;
    let output = |(stream, file)| {
        let answer = match stream {
            Stream::Stdout => Answer::Stdout,
            Stream::Stderr => Answer::Stderr,
        };
        Output { file, answer }
    };
    let outputs = stdio.outputs.into_iter().map(output).collect();
    Ok(Running { pid, ended, input: Input::new(stdio.input), outputs })
}

impl Running {
    fn pump(
        &mut self,
        guest: &Guest,
        connection: &mut Connection<'_>,
    ) -> Result<Exit, Disconnected> {
        loop {
            while let Some(ask) = connection.receive()? {
                self.obey(guest, ask)?;
            }
            self.input.give(connection);
            // Asked before the output is read for the last time, so that none is lost.
            let exit = self.ended.exit();
            let more = self.collect(connection);
            connection.flush()?;
            match exit {
                // Processes that it left running may keep its output open for ever.
                Some(exit) if !more => return Ok(exit),
                exit => self.sleep(connection, exit.is_some())?,
            }
        }
    }

    fn obey(&mut self, guest: &Guest, ask: Ask) -> Result<(), Disconnected> {
        match ask {
            Ask::Hello(_) => return Err(Disconnected),
            Ask::Stdin(bytes) => self.input.add(&bytes)?,
            Ask::StdinEnd => self.input.end(),
            Ask::Signal(number) => guest.children.signal(self.pid, number),
            Ask::Resize(size) => self.input.resize(size),
        }
        Ok(())
    }

    /// Reads the output there is, as far as it can be sent. Returns whether there may be more.
    fn collect(&mut self, connection: &mut Connection<'_>) -> bool {
        let mut more = false;
        self.outputs.retain(|output| {
            while connection.pending() < MAX_PENDING {
                let mut buffer = vec![0; FRAME_BYTES];
                match read(&output.file, &mut buffer[..]) {
                    Ok(0) => return false,
                    Ok(count) => {
                        buffer.truncate(count);
                        connection.send(&(output.answer)(buffer));
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return true,
                    // A terminal that no process has open any more.
                    Err(_) => return false,
                }
            }
            more = true;
            true
        });
        more
    }

    fn sleep(&self, connection: &mut Connection<'_>, has_ended: bool) -> Result<(), Disconnected> {
        let mut fds = vec![];
        if !has_ended {
            fds.push(PollFd::new(&*self.ended, PollFlags::IN));
        }
        fds.extend(self.input.room());
        if connection.pending() < MAX_PENDING {
            fds.extend(self.outputs.iter().map(|output| PollFd::new(&output.file, PollFlags::IN)));
        }
        connection.sleep(fds)
    }
}
