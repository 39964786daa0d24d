//! Stays with an app until it ends: shows its output, and passes it input if it takes any.

use super::logs::{Output, tell_gap};
use crate::conversation::{ALL_SIGNALS, DetachKeys, SessionEnd, Signals, give};
use crate::output::say;
use crate::terminal::Screen;
use anyhow::{Context, Result};
use app::{App, Apps, Followed, LogFilter, Outcome, TalkError, guest, life};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Shows the app's output until the app ends. The first signal stops the app gracefully, the second at once.
pub(super) fn show(apps: &Apps, app: &App, signals: &AtomicUsize) -> Result<ExitCode> {
    let mut follow = app::follow(apps, app, LogFilter::default())?;
    let mut output = Output::new(false);
    let outcome = std::thread::scope(|scope| -> Result<Outcome> {
        let mut asked = false;
        loop {
            if !asked && signals.swap(0, Ordering::Relaxed) > 0 {
                asked = true;
                scope.spawn(|| life::stop(apps, app, None));
            } else if asked && signals.swap(0, Ordering::Relaxed) > 0 {
                scope.spawn(|| life::kill(apps, app));
            }
            match follow.next(Duration::from_secs(1))? {
                Followed::Output(entries) => output.write(&entries)?,
                Followed::Gap => tell_gap(),
                Followed::Nothing => {}
                Followed::Ended(outcome) => return Ok(outcome),
            }
        }
    })?;
    Ok(end_as(&outcome))
}

/// Shows the app's output, and passes input, signals and the terminal's size to it, until the app ends or the detach
/// keys are pressed.
pub(super) fn stay(
    apps: &Apps,
    app: &App,
    interactive: bool,
    screen: Option<Screen>,
    keys: &DetachKeys,
    filter: LogFilter,
) -> Result<ExitCode> {
    let signals = Signals::catch(&ALL_SIGNALS)?;
    let mut follow = app::follow(apps, app, filter)?;
    let raw = screen.as_ref().filter(|_| interactive).map(Screen::make_raw).transpose()?;
    let detached = AtomicBool::new(false);
    let (ended, end) = std::os::unix::net::UnixStream::pair().context("cannot make sockets")?;
    let outcome = std::thread::scope(|scope| {
        let giving = scope.spawn(|| -> Result<()> {
            let mut session = match guest::attach(apps, app) {
                Ok(session) => session,
                // The loop below reports the app's end.
                Err(TalkError::Ended(_)) => return Ok(()),
                Err(TalkError::Refused(_)) if !interactive => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let keys = screen.is_some().then_some(keys);
            match give(&mut session, interactive, screen.as_ref(), &signals, keys, &ended)? {
                SessionEnd::Detached => detached.store(true, Ordering::Relaxed),
                SessionEnd::Ended => {}
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

/// Ends this command with the app's exit code.
fn end_as(outcome: &Outcome) -> ExitCode {
    if let Some(message) = &outcome.message {
        say(message);
    }
    ExitCode::from(outcome.code())
}
