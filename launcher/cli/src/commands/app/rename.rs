//! `launch rename`: rename an app.

use crate::here::Here;
use anyhow::Result;
use app::life;
use std::process::ExitCode;

/// The app, and its new name.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The app's name, or the beginning of its name or id
    app: String,
    /// The new name
    name: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    life::rename(&apps, &apps.find(&args.app)?, &args.name)?;
    Ok(ExitCode::SUCCESS)
}
