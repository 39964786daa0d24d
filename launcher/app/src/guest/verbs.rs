//! What a running guest is asked for: a further process, its app's input, figures. Each uses one vchan.
//!
//! Dom0 does not trust the guest. [`Session`] bounds what the guest can cost: in memory, in time, and in
//! how long it keeps a command from hearing anything else.

use crate::apps::{App, Apps};
use crate::guest::error::TalkError;
use crate::guest::session::Session;
use crate::guest::vchan::{PATIENCE, talk};
use crate::request::process;
use crate::store::folder;
use contract::talk::{Answer, Exec, Request, Size, Stats};
use contract::{Exit, Process, Untrusted};
use std::time::Duration;

/// A process to run beside an app; `None` and empty mean "as the app".
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value` each; replaces or adds to the app's.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User, as `docker exec -u` takes it.
    pub user: Option<String>,
    /// Whether the process gets input.
    pub stdin: bool,
    /// The size of its terminal, where it is to have one.
    pub terminal: Option<Size>,
}

/// Asks a running app's guest to run a further process.
///
/// The session's first answer is [`Answer::Started`], or [`Answer::Exited`] with
/// [`Exit::NotStarted`] where the process cannot run.
///
/// # Errors
/// The app does not run, or its guest offers no free vchan in time.
pub fn exec(apps: &Apps, app: &App, request: &ExecRequest) -> Result<Session, TalkError> {
    let own = &app.record.process;
    let mut env = process::merge_env(&app.record.hostname, &own.env, &request.env);
    if request.terminal.is_some() {
        process::add_term(&mut env);
    }
    let process = Process {
        args: request.args.clone(),
        env,
        cwd: request.cwd.clone().filter(|cwd| !cwd.is_empty()).unwrap_or_else(|| own.cwd.clone()),
        user: request.user.clone().unwrap_or_else(|| own.user.clone()),
        ..Process::default()
    };
    let exec = Exec { process, stdin: request.stdin, terminal: request.terminal };
    // A full disk is no reason not to run it.
    let _ = apps.folder(&app.record.id).mark(folder::TOUCHED);
    talk(apps, app, Request::Exec(exec), PATIENCE)
}

/// Takes over the app's input; its output is what [`crate::follow`] returns.
///
/// # Errors
/// As [`exec`]; [`TalkError::Refused`] where the app has no input.
pub fn attach(apps: &Apps, app: &App) -> Result<Session, TalkError> {
    let mut session = talk(apps, app, Request::Attach, PATIENCE)?;
    match session.wait_for_answer()? {
        Answer::Started => Ok(session),
        _ => Err(TalkError::Unexpected(app.record.name.clone())),
    }
}

/// What the guest says that it uses, if it answers within `patience`.
///
/// # Errors
/// As [`exec`].
pub fn stats(apps: &Apps, app: &App, patience: Duration) -> Result<Stats, TalkError> {
    let mut session = talk(apps, app, Request::Stats, patience)?;
    match session.wait_for_answer()? {
        Answer::Stats(stats) => Ok(stats),
        _ => Err(TalkError::Unexpected(app.record.name.clone())),
    }
}

/// The exit code of a process whose app has ended, and it with it: as if killed.
pub const ENDED_WITH_APP: u8 = 137;

/// The one line that says why a process never ran.
#[must_use]
pub fn why_not(exit: &Exit) -> Option<&Untrusted> {
    match exit {
        Exit::NotStarted { message, .. } => Some(message),
        _ => None,
    }
}
