//! `launch image prune`: remove images that no app uses.

use crate::here::Here;
use crate::output::print;
use crate::{failure, table};
use anyhow::{Context, Result};
use image::StoreError;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

/// The images to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also remove images with a name if no app uses them
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let store = here.images()?;
    if !args.force && !confirmed(args.all)? {
        return Ok(ExitCode::SUCCESS);
    }
    let apps = here.apps()?;
    let in_use = |digest: &image::Digest| apps.have_image(digest, |_| false);
    let mut images = store.list()?;
    images.retain(|image| (args.all || image.names.is_empty()) && !in_use(&image.digest));
    let (mut code, mut bytes) = (ExitCode::SUCCESS, 0);
    for image in images {
        let digest = image.digest.to_string();
        match store.remove(&digest, &in_use) {
            Ok(removed) => {
                bytes += removed.freed_bytes;
                print(&format!("deleted: {digest}\n"))?;
            }
            // An app has begun to use it meanwhile.
            Err(StoreError::InUse { .. }) => {}
            Err(error) => code = failure::report(&error.into()),
        }
    }
    print(&format!("Total reclaimed space: {}\n", table::size(bytes)))?;
    Ok(code)
}

fn confirmed(all: bool) -> Result<bool> {
    let which = if all { "without an app" } else { "without a name" };
    let mut out = io::stdout();
    write!(out, "This removes all images {which}. Are you sure you want to continue? [y/N] ")
        .and_then(|()| out.flush())
        .context("cannot write to stdout")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
