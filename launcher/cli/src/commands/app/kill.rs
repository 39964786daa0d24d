//! `launch kill`: send apps a signal.

use crate::commands::each::each;
use crate::here::Here;
use anyhow::Result;
use app::life;
use app::request::parse_signal;
use std::process::ExitCode;

/// The apps, and the signal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
After SIGKILL the guest writes its data to disk and powers off; a guest that does not answer is
destroyed.")]
pub(crate) struct Args {
    /// Signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = parse_signal)]
    signal: i32,
    /// Names, or beginnings of names or ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| Ok(life::signal(&apps, &apps.find(name)?, args.signal)?))
}
