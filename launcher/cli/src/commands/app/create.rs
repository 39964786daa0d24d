//! `launch create`: create an app without starting it.

use super::run::{CreateFlags, prepare};
use crate::here::Here;
use crate::output::print;
use anyhow::Result;
use app::life;
use std::process::ExitCode;

/// The app to create.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    create: CreateFlags,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let apps = here.apps()?;
    let (launch, id_file) = prepare(args.create, &here)?;
    let app = life::create(&apps, &launch)?;
    if let Some(id_file) = id_file {
        id_file.fill(&app.record.id)?;
    }
    print(&format!("{}\n", app.record.id))?;
    Ok(ExitCode::SUCCESS)
}
