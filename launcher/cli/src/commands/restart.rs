//! `launch restart`: stop apps and start them again.

use super::each::each;
use super::stop::{StopTime, parse_stop_time};
use crate::here::{self, Here};
use anyhow::Result;
use std::process::ExitCode;

/// Which apps, and how long they may take to stop.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds until an app that does not stop is ended by force; -1: never [default: the app's own,
    /// or 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS",
        allow_hyphen_values = true, value_parser = parse_stop_time)]
    time: Option<StopTime>,
    /// Names, or beginnings of names or ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    here::require_dom0()?;
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| {
        let app = apps.find(name)?;
        apps.stop(&app, args.time.map(|time| time.0))?;
        let mut app = apps.find(&app.record.id)?;
        super::start::start(&apps, &mut app)
    })
}
