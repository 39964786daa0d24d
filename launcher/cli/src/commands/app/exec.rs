//! `launch exec`: run another process beside an app.

use super::spec::environment;
use crate::conversation::{ALL_SIGNALS, Insisted, Signals, converse};
use crate::here::{self, Here, require_dom0};
use crate::output::say;
use crate::terminal::Screen;
use anyhow::Result;
use app::guest::{self, ENDED_WITH_APP, why_not};
use app::life;
use app::{ExecRequest, TalkError};
use contract::Exit;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit code of a command that a signal ended is this plus the signal's number.
const ENDED_BY_SIGNAL: u8 = 128;

/// The process to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Give the process this command's input
    #[arg(short, long)]
    interactive: bool,
    /// Give the process a terminal; this command's input must be one too
    #[arg(short, long)]
    tty: bool,
    /// Set an environment variable; without a value, take it from this command's environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file, one per line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// User and group of the process [default: the app's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory of the process [default: the app's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The app's name or the beginning of its id; then program and arguments
    // One argument for all, so that the flags of `exec` end at its first value, as in Docker.
    #[arg(required = true, trailing_var_arg = true, num_args = 2.., value_names = ["APP", "COMMAND"])]
    app_and_command: Vec<String>,
}

pub(crate) fn run(mut args: Args) -> Result<ExitCode> {
    let screen = args.tty.then(|| Screen::require(args.interactive)).transpose()?;
    require_dom0()?;
    let apps = Here::new()?.apps_as_they_are()?;
    let command = args.app_and_command.split_off(1);
    let wish = ExecRequest {
        args: command,
        env: environment(&args.env_file, &args.env)?,
        cwd: args.workdir,
        user: args.user,
        stdin: args.interactive,
        terminal: screen.as_ref().map(Screen::size),
    };
    let signals = Signals::catch(&ALL_SIGNALS)?;
    let talk = || -> Result<Exit> {
        let mut session = guest::exec(&apps, &apps.find(&args.app_and_command[0])?, &wish)?;
        let _raw =
            screen.as_ref().filter(|_| args.interactive).map(Screen::make_raw).transpose()?;
        converse(&mut session, args.interactive, screen.as_ref(), &signals)
    };
    let error = match talk() {
        Ok(exit) => {
            if let Some(why) = why_not(&exit) {
                say(why);
            }
            return Ok(ExitCode::from(exit.code()));
        }
        Err(error) => error,
    };
    let code = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(TalkError::Ended(_)), _) => ENDED_WITH_APP,
        (_, Some(Insisted { signal })) => {
            ENDED_BY_SIGNAL.saturating_add(u8::try_from(*signal).unwrap_or_default())
        }
        _ => return Err(error),
    };
    say(&error);
    // A power cut may have ended the domain of an app that is recorded as running: this repairs it.
    here::tell(&life::repair(&apps)?);
    Ok(ExitCode::from(code))
}
