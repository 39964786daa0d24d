//! `launch pause` and `launch unpause`.

use crate::commands::each::each;
use crate::here::Here;
use anyhow::Result;
use app::life;
use std::process::ExitCode;

/// The apps.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names, or beginnings of names or ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn pause(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| Ok(life::pause(&apps, &apps.find(name)?)?))
}

pub(crate) fn unpause(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| Ok(life::unpause(&apps, &apps.find(name)?)?))
}
