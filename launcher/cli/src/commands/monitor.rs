//! `launch __monitor`: the process that stays with one app. Not for people.

use crate::here::Here;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::process::ExitCode;

pub(crate) fn main(args: &[OsString]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::failure::report(&error),
    }
}

fn run(args: &[OsString]) -> Result<()> {
    let id = args.first().and_then(|id| id.to_str()).context("the monitor needs an app's id")?;
    let settings = Here::new()?.settings;
    let apps = domain::Apps::open(&settings.state, &settings.domain, &settings.network)?;
    Ok(domain::monitor::run(&apps, id)?)
}
