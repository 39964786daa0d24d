//! `launch start`: start apps that do not run.

use super::each::each;
use crate::failure;
use crate::here::{self, Here, print};
use anyhow::{Result, bail};
use domain::{App, Apps, Phase};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Which apps.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Start all whose restart policy says that they run when the host does
    #[arg(long, conflicts_with = "apps")]
    at_boot: bool,
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
    each(&args.apps, |name| {
        let mut app = apps.find(name)?;
        // As Docker has it, what runs already is as wished.
        match app.state.phase {
            Phase::Running | Phase::Starting => Ok(()),
            Phase::Restarting => bail!("app {} is about to be started again", app.record.name),
            Phase::Created | Phase::Exited => start(&apps, &mut app),
        }
    })
}

/// Starts one app.
pub(super) fn start(apps: &Apps, app: &mut App) -> Result<()> {
    apps.start(app)?;
    Ok(())
}

/// What ran when the host went down is put right before; the rest is those that had ended.
fn at_boot(apps: &Apps) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for mut app in apps.at_boot()? {
        match start(apps, &mut app) {
            Ok(()) => print(&format!("{}\n", app.record.name))?,
            Err(error) => code = failure::report(&error),
        }
    }
    Ok(code)
}

/// The body of `launch __restart ID`, which a monitor turns into; standard input is the app's lock.
pub(crate) fn restart_inherited(id: &str) -> ExitCode {
    let start = || -> Result<()> {
        let inherited = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Here::new()?.apps_as_they_are()?.restart_inherited(id, inherited)?)
    };
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
