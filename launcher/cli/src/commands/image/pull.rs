//! `launch pull`: fetch an image and make its guest disk.

use crate::here::{Here, say_how_read};
use crate::output::print;
use anyhow::Result;
use image::Naming;
use std::process::ExitCode;

/// The image to pull.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An image's name, or docker-archive:FILE, oci-archive:FILE, oci:DIR, dir:DIR, rootfs:FILE; - is stdin
    image: String,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let here = Here::new()?;
    let source = args.image.parse()?;
    let pulled = here.pull(&here.images()?, &source, Naming::AsArchived, args.quiet);
    let image = say_how_read(pulled, &args.image, &source)?;
    print(&format!("{}\n", image.digest))?;
    Ok(ExitCode::SUCCESS)
}
