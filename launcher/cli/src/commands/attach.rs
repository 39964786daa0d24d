//! `launch attach`: go on with a running app, as `launch run` does in the foreground.

use super::logs::{Output, tell_gap};
use super::run::end_as;
use crate::conversation::{ALL_SIGNALS, DetachKeys, Given, Signals, give};
use crate::here::{Here, require_dom0};
use crate::terminal::Screen;
use anyhow::{Context, Result};
use app::guest;
use app::{App, Apps, Followed, LogFilter, TalkError};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Which app, and how to leave it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Give the app no input
    #[arg(long)]
    no_stdin: bool,
    /// Keys that leave the app running and give the terminal back
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// The app's name or the beginning of its id
    app: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_dom0()?;
    let apps = Here::new()?.apps()?;
    let app = apps.find(&args.app)?;
    let process = &app.record.process;
    let interactive = process.stdin && !args.no_stdin;
    let screen = process.terminal.then(|| Screen::require(interactive)).transpose()?;
    stay(
        &apps,
        &app,
        interactive,
        screen,
        &args.detach_keys,
        LogFilter { tail: Some(0), ..LogFilter::default() },
    )
}

/// Shows the app's output, passes input, signals and the terminal's size on to it, until it ends or
/// the detach keys are pressed.
pub(super) fn stay(
    apps: &Apps,
    app: &App,
    interactive: bool,
    screen: Option<Screen>,
    keys: &DetachKeys,
    part: LogFilter,
) -> Result<ExitCode> {
    let signals = Signals::catch(&ALL_SIGNALS)?;
    let mut follow = app::follow(apps, app, part)?;
    let raw = screen.as_ref().filter(|_| interactive).map(Screen::make_raw).transpose()?;
    let detached = AtomicBool::new(false);
    let (ended, end) = std::os::unix::net::UnixStream::pair().context("cannot make sockets")?;
    let outcome = std::thread::scope(|scope| {
        let giving = scope.spawn(|| -> Result<()> {
            let mut session = match guest::attach(apps, app) {
                Ok(session) => session,
                // Its end is told by the one who follows it.
                Err(TalkError::Ended(_)) => return Ok(()),
                Err(TalkError::Refused(_)) if !interactive => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let keys = screen.is_some().then_some(keys);
            match give(&mut session, interactive, screen.as_ref(), &signals, keys, &ended)? {
                Given::Detached => detached.store(true, Ordering::Relaxed),
                Given::Ended => {}
            }
            Ok(())
        });
        let mut output = Output::new(false);
        let outcome = loop {
            match follow.next(Duration::from_millis(200)) {
                Ok(Followed::Output(entries)) => {
                    if let Err(error) = output.write(&entries) {
                        break Err(error);
                    }
                }
                Ok(Followed::Gap) => tell_gap(),
                Ok(Followed::Nothing) if detached.load(Ordering::Relaxed) => break Ok(None),
                Ok(Followed::Nothing) => {}
                Ok(Followed::Ended(outcome)) => break Ok(Some(outcome)),
                Err(error) => break Err(error.into()),
            }
        };
        // Wakes the other thread.
        drop(end);
        let given = giving.join().unwrap_or(Ok(()));
        outcome.and_then(|outcome| given.map(|()| outcome))
    });
    drop(raw);
    match outcome? {
        Some(outcome) => Ok(end_as(&outcome)),
        None => Ok(ExitCode::SUCCESS),
    }
}
