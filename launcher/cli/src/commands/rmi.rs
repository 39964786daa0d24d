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
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let store = here.images()?;
    let used: Vec<String> =
        here.apps()?.list()?.into_iter().map(|app| app.record.image_digest).collect();
    each(&args.images, |name| {
        store.remove(name, &|digest| used.contains(&digest.to_string()))?;
        Ok(())
    })
}
