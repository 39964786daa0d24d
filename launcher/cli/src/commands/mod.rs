//! The commands, one file each.

pub(crate) mod config;
mod each;
pub(crate) mod image;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod logs;
mod machine;
pub(crate) mod pool;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
mod spec;
pub(crate) mod stop;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;
use std::time::Instant;

/// What `launch` can be asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start an image as a new domain.
    Run(Box<run::Args>),
    /// List apps.
    Ps(ps::Args),
    /// Show an app's output.
    Logs(logs::Args),
    /// Stop apps gracefully, then by force.
    Stop(stop::Args),
    /// Remove stopped apps.
    Rm(rm::Args),
    /// Show everything known about apps or images, as JSON.
    Inspect(inspect::Args),
    /// Fetch an image and make its guest disk.
    Pull(pull::Args),
    /// List images.
    Images(images::Args),
    /// Remove images.
    Rmi(rmi::Args),
    /// Work with images and disks directly.
    #[command(subcommand)]
    Image(image::Command),
    /// Keep domains booted and waiting for their apps; without flags, show the pools.
    Pool(pool::Args),
    /// Print the domain config of an image, for `xl create`.
    Config(Box<config::Args>),
}

impl Command {
    /// Does what was asked for, in a process that began at `begin`.
    pub(crate) fn run(self, begin: Instant) -> Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(*args, begin),
            Self::Ps(args) => ps::run(&args),
            Self::Logs(args) => logs::run(&args),
            Self::Stop(args) => stop::run(&args),
            Self::Rm(args) => rm::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Pull(args) => pull::run(&args),
            Self::Images(args) => images::run(&args),
            Self::Rmi(args) => rmi::run(&args),
            Self::Image(command) => image::run(&command),
            Self::Pool(args) => pool::run(args),
            Self::Config(args) => config::run(*args),
        }
    }
}
