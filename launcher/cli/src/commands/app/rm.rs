//! `launch rm`: remove stopped apps.

use crate::commands::each::each;
use crate::here::Here;
use crate::output::say;
use anyhow::Result;
use app::AppsError;
use app::life;
use std::process::ExitCode;

/// The apps to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also remove running apps, which are ended at once
    #[arg(short, long)]
    force: bool,
    /// Accepted for Docker's sake: what an app wrote is always removed with it
    #[arg(short, long, hide = true)]
    volumes: bool,
    /// Names, or beginnings of names or ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| {
        let app = match apps.find(name) {
            // As in Docker, a missing app is reported but is no error.
            Err(AppsError::Unknown(_)) if args.force => {
                say(format_args!("no such app: {name}"));
                return Ok(());
            }
            Err(AppsError::File(error))
                if args.force && error.is_damaged() && life::remove_damaged(&apps, name)? =>
            {
                return Ok(());
            }
            found => found?,
        };
        Ok(life::remove(&apps, &app, args.force)?)
    })
}
