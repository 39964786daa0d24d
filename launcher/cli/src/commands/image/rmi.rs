//! `launch rmi`: remove images.

use crate::commands::each::each;
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
    // Before the images, so that a state that cannot be read is reported as such.
    apps.list()?;
    let may_lose_it = |app: &app::App| args.force && apps.can_spare_image(app);
    let in_use = |digest: &image::Digest| apps.have_image(digest, may_lose_it);
    each(&args.images, |name| {
        store.remove(name, &in_use)?;
        Ok(())
    })
}
