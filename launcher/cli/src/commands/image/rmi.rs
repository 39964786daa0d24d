//! `launch rmi`: remove images.

use crate::commands::each::each;
use crate::here::Here;
use anyhow::Result;
use std::process::ExitCode;

/// The images to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names, or beginnings of digests
    #[arg(required = true)]
    images: Vec<String>,
    /// Also remove images that stopped apps use; these apps keep the disk
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let store = here.images()?;
    let apps = here.apps()?;
    // Before the images, so that an unreadable state is reported as such.
    apps.list()?;
    let may_lose_it = |app: &app::App| args.force && apps.can_spare_image(app);
    let in_use = |digest: &image::Digest| apps.have_image(digest, may_lose_it);
    each(&args.images, |name| {
        store.remove(name, &in_use)?;
        Ok(())
    })
}
