//! Requests to a running guest: run another process, take over the app's input, report figures. Each uses one vchan.
//!
//! Dom0 does not trust the guest. [`Session`] bounds what a guest can cost in memory and in time, and how long it can
//! keep a command from other events.

use crate::apps::{App, Apps};
use crate::guest::error::TalkError;
use crate::guest::session::Session;
use crate::guest::vchan::{PATIENCE, talk};
use crate::request::process;
use crate::store::folder;
use contract::talk::{Answer, Exec, Request, Size, Stats};
use contract::{Exit, Process, Untrusted};
use std::time::Duration;

/// A process to run beside an app; `None` and empty mean the app's values.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value` each; replaces or adds to the app's environment.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User, as `docker exec -u` takes it.
    pub user: Option<String>,
    /// Whether the process gets input.
    pub stdin: bool,
    /// The size of its terminal, if it gets one.
    pub terminal: Option<Size>,
}

/// Asks a running app's guest to run another process.
///
/// The session's first answer is [`Answer::Started`], or [`Answer::Exited`] with [`Exit::NotStarted`] if the process
/// cannot run.
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
    // A full disk must not prevent the process.
    let _ = apps.folder(&app.record.id).mark(folder::TOUCHED);
    talk(apps, app, Request::Exec(exec), PATIENCE)
}

/// Takes over the app's input; [`crate::follow`] returns the output.
///
/// # Errors
/// As [`exec`]; [`TalkError::Refused`] if the app has no input.
pub fn attach(apps: &Apps, app: &App) -> Result<Session, TalkError> {
    let mut session = talk(apps, app, Request::Attach, PATIENCE)?;
    match session.wait_for_answer()? {
        Answer::Started => Ok(session),
        _ => Err(TalkError::Unexpected(app.record.name.clone())),
    }
}

/// The resources that the guest reports to use, if it answers within `patience`.
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

/// The exit code of a process that ended because its app ended: that of a killed process.
pub const ENDED_WITH_APP: u8 = 137;

/// Why a process never ran, in one line.
#[must_use]
pub fn why_not(exit: &Exit) -> Option<&Untrusted> {
    match exit {
        Exit::NotStarted { message, .. } => Some(message),
        _ => None,
    }
}
