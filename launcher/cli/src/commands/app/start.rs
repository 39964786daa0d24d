//! `launch start`: start apps that do not run.

use super::foreground;
use crate::commands::each::each;
use crate::conversation::DetachKeys;
use crate::failure;
use crate::here::{self, Here};
use crate::output::print;
use crate::terminal::Screen;
use anyhow::{Result, bail};
use app::life;
use app::{App, Apps, LogFilter, Phase};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The apps to start.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Start all apps whose restart policy says that they start with the host
    #[arg(long, conflicts_with = "apps")]
    at_boot: bool,
    /// Stay with the app: show its output and pass signals to it, until it ends
    #[arg(short, long, conflicts_with = "at_boot")]
    attach: bool,
    /// Stay with the app and give it this command's input
    #[arg(short, long, conflicts_with = "at_boot")]
    interactive: bool,
    /// Keys that end this command and leave the app running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Names, or beginnings of names or ids
    #[arg(required_unless_present = "at_boot")]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    here::require_dom0()?;
    let apps = Here::new()?.apps()?;
    if args.at_boot {
        return at_boot(&apps);
    }
    match args.apps.as_slice() {
        [name] if args.attach || args.interactive => stay(args, &apps, apps.find(name)?),
        _ if args.attach || args.interactive => bail!("-a and -i work with one app: give one name"),
        names => each(names, |name| start_if_needed(&apps, &apps.find(name)?)),
    }
}

/// Starts the app unless it runs. As in Docker, it is no error if the app runs.
fn start_if_needed(apps: &Apps, app: &App) -> Result<()> {
    match app.state.phase() {
        Phase::Running | Phase::Starting => Ok(()),
        Phase::Restarting => bail!("app {} is waiting for its restart", app.record.name),
        Phase::Created | Phase::Exited => start(apps, app),
    }
}

/// Starts the app and shows its output from now on.
fn stay(args: &Args, apps: &Apps, app: App) -> Result<ExitCode> {
    let process = &app.record.process;
    let interactive = args.interactive && process.stdin;
    let screen = process.terminal.then(|| Screen::require(interactive)).transpose()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_ns = u64::try_from(now.as_nanos()).ok();
    start_if_needed(apps, &app)?;
    let part = LogFilter { since_ns, ..LogFilter::default() };
    foreground::stay(apps, &app, interactive, screen, &args.detach_keys, part)
}

/// Starts one app.
fn start(apps: &Apps, app: &App) -> Result<()> {
    life::start(apps, app)?;
    Ok(())
}

/// Starts the apps that must start with the host. Apps that ran when the host went down have been repaired before.
fn at_boot(apps: &Apps) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for app in life::at_boot(apps)? {
        match start(apps, &app) {
            Ok(()) => print(&format!("{}\n", app.record.name))?,
            Err(error) => code = failure::report(&error),
        }
    }
    Ok(code)
}

/// Runs `launch __restart ID`, into which a monitor turns; standard input is the app's lock.
pub(crate) fn restart_inherited(id: &str) -> ExitCode {
    let start = || -> Result<()> {
        let inherited = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(life::restart_inherited(&Here::new()?.apps_as_they_are()?, id, inherited)?)
    };
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
