//! The child's side: what the program `fetch` does.

use super::{
    channel::Channel,
    job,
    messages::{Answer, Order},
    sandbox,
};
use crate::{
    failure::{Failure, FailureKind},
    host::{Host, Resolved},
    progress::Event,
};
use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The body of `fetch`: to be called from `main` before any thread is started.
///
/// It talks to the launcher through standard input, gives up its rights, and leaves when all is
/// done. The launcher prints errors; only a start by hand prints here.
#[must_use]
pub fn fetch_child() -> ExitCode {
    sandbox::close_inherited_files();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetch is started by launch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut channel = Channel::new(UnixStream::from(socket));
    let Some((Order::Fetch(request), archive)) = channel.receive()? else {
        return Err(io::Error::other("there is no request"));
    };
    let host = Arc::new(Launcher(Mutex::new(channel)));
    let answer = match sandbox::enter(&request) {
        Err(message) => Answer::Failed { kind: FailureKind::Other, message },
        Ok(gaps) => {
            if !gaps.0.is_empty() {
                host.event(Event::Unsandboxed { missing: gaps.to_string().into() });
            }
            let shared: Arc<dyn Host> = Arc::<Launcher>::clone(&host);
            match job::run(*request, archive, &shared) {
                Ok(Some(done)) => Answer::Done(Box::new(done)),
                Ok(None) => return Ok(()),
                Err(Failure { kind, message }) => Answer::Failed { kind, message },
            }
        }
    };
    host.channel().send(&answer, None)
}

/// The launcher, at the other end of the socket.
struct Launcher(Mutex<Channel>);

impl Launcher {
    fn channel(&self) -> MutexGuard<'_, Channel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the answer.
    fn ask(&self, question: &Answer) -> io::Result<(Order, Option<File>)> {
        let mut channel = self.channel();
        channel.send(question, None)?;
        channel.receive()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Host for Launcher {
    fn event(&self, event: Event) {
        // If the launcher is gone, this process ends too.
        let _ = self.channel().send(&Answer::Event(event), None);
    }

    fn open(&self, path: &str) -> io::Result<File> {
        match self.ask(&Answer::Open { path: path.to_owned() })? {
            (Order::File, Some(file)) => Ok(file),
            (Order::NoFile { missing: true, .. }, _) => Err(io::ErrorKind::NotFound.into()),
            (Order::NoFile { cause, .. }, _) => Err(io::Error::other(cause)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn scratch(&self) -> io::Result<File> {
        match self.ask(&Answer::Scratch)? {
            (Order::File, Some(file)) => Ok(file),
            (Order::NoFile { cause, .. }, _) => Err(io::Error::other(cause)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn resolved(&self, resolved: Resolved) -> io::Result<Option<File>> {
        match self.ask(&Answer::Resolved(resolved))? {
            (Order::Write, Some(file)) => Ok(Some(file)),
            (Order::Stop, _) => Ok(None),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
