//! `launch rmi`: remove images.

use super::each::each;
use crate::here::Here;
use anyhow::Result;
use std::process::ExitCode;

/// Which images.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names, or beginnings of digests
    #[arg(required = true)]
    images: Vec<String>,
    /// Also an image that stopped apps have: they keep its disk
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let store = here.images()?;
    let apps = here.apps()?;
    let mut users = apps.list()?;
    users.retain(|app| !(args.force && apps.can_spare_image(app)));
    let used: Vec<String> = users.into_iter().map(|app| app.record.image_digest).collect();
    each(&args.images, |name| {
        store.remove(name, &|digest| used.contains(&digest.to_string()))?;
        Ok(())
    })
}
