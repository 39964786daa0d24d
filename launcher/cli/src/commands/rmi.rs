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
    // Before the images, so that a state that cannot be read is said as such.
    apps.list()?;
    let in_use = |digest: &image::Digest| {
        let digest = digest.to_string();
        let has = |app: &domain::App| {
            app.record.image_digest == digest && !(args.force && apps.can_spare_image(app))
        };
        apps.list().map_or(true, |all| all.iter().any(has))
    };
    each(&args.images, |name| {
        store.remove(name, &in_use)?;
        Ok(())
    })
}
