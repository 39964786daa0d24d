//! `launch restart`: stop apps and start them again.

use super::stop::Patience;
use crate::commands::each::each;
use crate::here::{self, Here};
use anyhow::Result;
use app::life;
use std::process::ExitCode;

/// The apps, and how long they may take to stop.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    patience: Patience,
    /// Names, or beginnings of names or ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    here::require_dom0()?;
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| {
        let app = apps.find(name)?;
        let app = life::stop_to_start(&apps, &app, args.patience.time())?;
        life::start(&apps, &app)?;
        Ok(())
    })
}
