//! `launch attach`: connect to a running app, as `launch run` does in the foreground.

use super::foreground::stay;
use crate::conversation::DetachKeys;
use crate::here::{Here, require_dom0};
use crate::terminal::Screen;
use anyhow::Result;
use app::LogFilter;
use std::process::ExitCode;

/// The app, and how to leave it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Give the app no input
    #[arg(long)]
    no_stdin: bool,
    /// Keys that end this command and leave the app running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// The app's name or the beginning of its id
    app: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    require_dom0()?;
    let apps = Here::new()?.apps()?;
    let app = apps.find(&args.app)?;
    let process = &app.record.process;
    let interactive = process.stdin && !args.no_stdin;
    let screen = process.terminal.then(|| Screen::require(interactive)).transpose()?;
    stay(
        &apps,
        &app,
        interactive,
        screen,
        &args.detach_keys,
        LogFilter { tail: Some(0), ..LogFilter::default() },
    )
}
