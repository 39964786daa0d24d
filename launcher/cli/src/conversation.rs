//! A conversation with a process in a guest: sends it input, signals and the terminal's size, and returns its output
//! and exit code.

mod input;
mod keys;
mod output;
mod signals;

pub(crate) use input::Insisted;
pub(crate) use keys::DetachKeys;
pub(crate) use signals::{ALL_SIGNALS, Signals};

use crate::terminal::Screen;
use anyhow::Result;
use app::{Session, Stream, TalkError};
use contract::Exit;
use contract::talk::{Answer, Ask};
use input::{Input, InputEvent};
use output::Pending;
use std::os::unix::net::UnixStream;

/// Passes data in both directions until the process has ended.
///
/// # Errors
/// [`TalkError`]; [`Insisted`]; a stream of this command fails.
pub(crate) fn converse(
    session: &mut Session,
    interactive: bool,
    screen: Option<&Screen>,
    signals: &Signals,
) -> Result<Exit> {
    let mut input = Input::new(interactive, None);
    let mut output = Pending::default();
    loop {
        session.begin_turn();
        while output.is_empty() {
            match session.next_answer()? {
                Some(Answer::Stdout(bytes)) => output.hold(Stream::Stdout, bytes),
                Some(Answer::Stderr(bytes)) => output.hold(Stream::Stderr, bytes),
                Some(Answer::Exited(exit)) => return Ok(exit),
                Some(_) => {}
                None => break,
            }
        }
        input.pass_on(session, screen, signals, None, &mut output)?;
    }
}

/// How [`give`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The app has ended, or the caller has closed `end`.
    Ended,
    /// The detach keys were pressed.
    Detached,
}

/// Passes input, signals and the terminal's size to an app, until the app ends, `end` is closed, or `keys` are pressed.
pub(crate) fn give(
    session: &mut Session,
    interactive: bool,
    screen: Option<&Screen>,
    signals: &Signals,
    keys: Option<&DetachKeys>,
    end: &UnixStream,
) -> Result<SessionEnd> {
    let mut input = Input::new(interactive, keys);
    if let Some(screen) = screen {
        session.send(&Ask::Resize(screen.size()))?;
    }
    loop {
        session.begin_turn();
        loop {
            match session.next_answer() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(TalkError::Ended(_)) => return Ok(SessionEnd::Ended),
                Err(error) => return Err(error.into()),
            }
        }
        match input.pass_on(session, screen, signals, Some(end), &mut Pending::default())? {
            InputEvent::Detach => return Ok(SessionEnd::Detached),
            InputEvent::End => return Ok(SessionEnd::Ended),
            InputEvent::Something => {}
        }
    }
}
