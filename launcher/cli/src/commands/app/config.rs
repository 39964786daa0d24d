//! `launch config`: print the domain config of an image, for `xl create`.

use super::spec::Spec;
use crate::here::Here;
use crate::output::print;
use anyhow::Result;
use app::ToolstackKind;
use app::life;
use std::process::ExitCode;

/// The app whose config to print.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
    #[command(flatten)]
    spec: Spec,
}

/// Creates the app, so that its disks and orders exist, and prints its config without starting it.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let apps = here.apps()?;
    let image = here.image(args.spec.image())?;
    let mut launch = args.spec.into_launch(image, &here.settings.network)?;
    launch.shape.toolstack = Some(ToolstackKind::Xl);
    let app = life::create(&apps, &launch)?;
    match life::config(&apps, &app) {
        Ok(config) => print(&config)?,
        // Reports the first error; `ps -a` shows an app that could not be removed.
        Err(error) => {
            let _ = life::remove(&apps, &app, true);
            return Err(error.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}
