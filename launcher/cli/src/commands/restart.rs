//! `launch restart`: stop apps and start them again.

use super::each::each;
use super::stop::Args;
use crate::here::{self, Here};
use anyhow::Result;
use std::process::ExitCode;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    here::require_dom0()?;
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| {
        let app = apps.find(name)?;
        let mut app = apps.stop_to_start(&app, args.time())?;
        super::start::start(&apps, &mut app)
    })
}
