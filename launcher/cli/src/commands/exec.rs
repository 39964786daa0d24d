//! `launch exec`: run a further process beside an app.

use super::spec::environment;
use crate::here::{Here, require_dom0};
use crate::terminal::Screen;
use anyhow::{Context, Result};
use contract::Exit;
use contract::talk::{Answer, Ask};
use domain::talk::{ENDED_WITH_APP, why_not};
use domain::{ExecWish, Session, TalkError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What to run, where, and as whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Give the process this command's input
    #[arg(short, long)]
    interactive: bool,
    /// Give the process a terminal, which this command's must be too
    #[arg(short, long)]
    tty: bool,
    /// Set an environment variable; without a value, take it from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// User, and group, that the process runs as [default: the app's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory of the process [default: the app's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The app's name or the beginning of its id
    app: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let screen = args.tty.then(|| Screen::require(args.interactive)).transpose()?;
    require_dom0()?;
    let apps = Here::new()?.apps_as_they_are()?;
    let wish = ExecWish {
        args: args.command,
        env: environment(&args.env_file, &args.env)?,
        cwd: args.workdir,
        user: args.user,
        stdin: args.interactive,
        terminal: screen.as_ref().map(Screen::size),
    };
    let signals = Signals::catch()?;
    let mut session = apps.exec(&apps.find(&args.app)?, &wish)?;
    let raw = screen.as_ref().filter(|_| args.interactive).map(Screen::make_raw).transpose()?;
    let exit = converse(&mut session, args.interactive, screen.as_ref(), &signals);
    drop(raw);
    match exit {
        Ok(exit) => {
            if let Some(why) = why_not(&exit) {
                eprintln!("launch: {why}");
            }
            Ok(ExitCode::from(exit.code()))
        }
        Err(error) => match error.downcast_ref::<TalkError>() {
            Some(TalkError::Ended(_)) => {
                eprintln!("launch: {error}");
                Ok(ExitCode::from(ENDED_WITH_APP))
            }
            _ => Err(error),
        },
    }
}

/// Passes everything on in both directions until the process has ended.
fn converse(
    session: &mut Session,
    interactive: bool,
    screen: Option<&Screen>,
    signals: &Signals,
) -> Result<Exit> {
    let stdin = std::io::stdin();
    let mut input = interactive.then_some(&stdin);
    let mut buffer = [0; 16 << 10];
    loop {
        while let Some(answer) = session.next_answer()? {
            match answer {
                Answer::Stdout(bytes) => write(&mut std::io::stdout().lock(), &bytes, "stdout")?,
                Answer::Stderr(bytes) => write(&mut std::io::stderr().lock(), &bytes, "stderr")?,
                Answer::Exited(exit) => return Ok(exit),
                _ => {}
            }
        }
        session.check_patience()?;
        if let Some(number) = signals.take() {
            session.send(&Ask::Signal(number))?;
        }
        if signals.has_resized() {
            if let Some(screen) = screen {
                session.send(&Ask::Resize(screen.size()))?;
            }
        }
        let room = session.input_room().min(buffer.len());
        let mut fds = vec![
            PollFd::new(&*session, PollFlags::IN),
            PollFd::new(&signals.wake, PollFlags::IN),
        ];
        if let Some(stdin) = input.filter(|_| room > 0) {
            fds.push(PollFd::new(stdin, PollFlags::IN));
        }
        let timeout = session.patience().and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for input"),
        }
        let told: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if told[0] {
            session.take_notification()?;
        }
        if told[1] {
            signals.drain();
        }
        if told.get(2) == Some(&true) {
            match rustix::io::read(&stdin, &mut buffer[..room]) {
                Ok(0) => {
                    input = None;
                    session.send(&Ask::StdinEnd)?;
                }
                Ok(count) => session.send_input(&buffer[..count])?,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(errno).context("cannot read stdin"),
            }
        }
    }
}

fn write(out: &mut impl Write, bytes: &[u8], name: &str) -> Result<()> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .with_context(|| format!("cannot write to {name}"))
}

/// Signals to this command that the process gets in its place.
struct Signals {
    last: Arc<AtomicUsize>,
    resized: Arc<AtomicUsize>,
    /// Readable when one came.
    wake: UnixStream,
}

impl Signals {
    fn catch() -> Result<Self> {
        let (wake, waker) = UnixStream::pair().context("cannot make a pair of sockets")?;
        wake.set_nonblocking(true).context("cannot set up a socket")?;
        let (last, resized) = (Arc::default(), Arc::default());
        for signal in [SIGHUP, SIGINT, SIGTERM, SIGWINCH] {
            let number = usize::try_from(signal).unwrap_or_default();
            let slot = if signal == SIGWINCH { &resized } else { &last };
            let caught = signal_hook::flag::register_usize(signal, Arc::clone(slot), number);
            caught
                .map(drop)
                .and_then(|()| {
                    signal_hook::low_level::pipe::register(signal, waker.try_clone()?).map(drop)
                })
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(Self { last, resized, wake })
    }

    fn take(&self) -> Option<i32> {
        let number = self.last.swap(0, Ordering::Relaxed);
        i32::try_from(number).ok().filter(|number| *number > 0)
    }

    fn has_resized(&self) -> bool {
        self.resized.swap(0, Ordering::Relaxed) > 0
    }

    fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!(rustix::io::read(&self.wake, &mut bytes[..]), Ok(1..)) {}
    }
}
