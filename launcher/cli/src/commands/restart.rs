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
        apps.stop(&app, args.time())?;
        let mut app = apps.find(&app.record.id)?;
        super::start::start(&apps, &mut app)
    })
}
