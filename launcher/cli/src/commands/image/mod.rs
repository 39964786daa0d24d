//! `launch image`: commands about images.

pub(crate) mod images;
mod prune;
pub(crate) mod pull;
pub(crate) mod rmi;

use crate::commands::inspect;
use crate::here::{Here, say_how_read};
use crate::progress::Bars;
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// The commands about images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::Args),
    /// Fetch an image and make its guest disk
    Pull(pull::Args),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(rmi::Args),
    /// Remove images that have no name, or that no app uses
    Prune(prune::Args),
    /// Show everything known about images, as JSON
    Inspect(inspect::ImageArgs),
    /// Write an image's guest disk to a path; the image is not kept in the store
    Convert {
        /// An image's name, or docker-archive:FILE, oci-archive:FILE, oci:DIR, dir:DIR, rootfs:FILE; - is stdin
        source: String,
        /// The disk to write, an EROFS image
        out: PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Ls(args) => images::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Rm(args) => rmi::run(args),
        Command::Prune(args) => prune::run(args),
        Command::Inspect(args) => inspect::run_images(args),
        Command::Convert { source, out } => {
            let settings = Here::new()?.settings;
            let parsed = source.parse()?;
            let done = image::convert(&parsed, out, &settings.image, &mut Bars::new());
            say_how_read(done.map_err(Into::into), source, &parsed)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
