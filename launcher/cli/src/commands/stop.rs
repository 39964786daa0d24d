//! `launch stop`: stop apps gracefully, then by force.

use super::each::each;
use crate::here::Here;
use anyhow::Result;
use std::process::ExitCode;
use std::time::Duration;

/// Which apps, and how long they may take.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds until an app that does not stop is ended by force [default: the app's own, or 10]
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u64>,
    /// Names, or beginnings of ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| {
        apps.stop(&apps.find(name)?, args.time.map(Duration::from_secs))?;
        Ok(())
    })
}
