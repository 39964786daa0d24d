//! `launch logs`: show an app's output.

use crate::here::Here;
use anyhow::{Context, Result};
use domain::Followed;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Whose output, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until the app ends
    #[arg(short, long)]
    follow: bool,
    /// The app's name or the beginning of its id
    app: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    let mut follow = apps.follow(&apps.find(&args.app)?, true)?;
    let mut out = std::io::stdout().lock();
    // Without --follow, what is there now is all there is to show.
    let patience = if args.follow { Duration::from_secs(3600) } else { Duration::ZERO };
    loop {
        match follow.next(patience)? {
            Followed::Output(bytes) => {
                out.write_all(&bytes)
                    .and_then(|()| out.flush())
                    .context("cannot write to stdout")?;
            }
            Followed::Nothing if args.follow => {}
            Followed::Nothing | Followed::Ended(_) => return Ok(ExitCode::SUCCESS),
        }
    }
}
