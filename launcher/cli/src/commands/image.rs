//! `launch image`: work with images and disks directly.

use crate::here::Here;
use crate::progress::Bars;
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to do with an image.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a guest disk at a path of yours; the image is not kept
    Convert {
        /// An image's name, or docker-archive:FILE, oci-archive:FILE, oci:DIR, rootfs:FILE
        source: String,
        /// The disk to write, an EROFS image
        out: PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let Command::Convert { source, out } = command;
    let settings = Here::new()?.settings;
    image::convert(&source.parse()?, out, &settings.image, &mut Bars::new())?;
    Ok(ExitCode::SUCCESS)
}
