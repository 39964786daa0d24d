//! `launch wait`: wait until apps have ended, and print their exit codes.

use crate::failure;
use crate::here::Here;
use crate::output::print;
use anyhow::Result;
use app::life;
use std::process::ExitCode;

/// The apps to wait for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An app that its restart policy starts again has not ended.")]
pub(crate) struct Args {
    /// Names, or beginnings of names or ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.apps {
        match apps.find(name).and_then(|app| life::wait(&apps, &app)) {
            Ok(outcome) => print(&format!("{}\n", outcome.code()))?,
            Err(error) => code = failure::report(&error.into()),
        }
    }
    Ok(code)
}
