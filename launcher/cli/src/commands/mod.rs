//! The commands, one file each: about apps in `app`, about images in `image`.

pub(crate) mod app;
pub(crate) mod docker_verbs;
mod each;
pub(crate) mod image;
mod inspect;
pub(crate) mod pool;
mod shape;

use anyhow::Result;
use app::{
    attach, config, cp, create, exec, kill, logs, pause, port, ps, rename, restart, rm, run, start,
    stats, stop, update, wait,
};
use clap::Subcommand;
use image::{images, pull, rmi};
use std::process::ExitCode;
use std::time::Instant;

/// The summary of `launch run`.
pub(crate) const ABOUT_RUN: &str = "Start an image as a new domain";

/// The commands of `launch`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(about = ABOUT_RUN)]
    Run(Box<run::Args>),
    /// Create an app without starting it.
    Create(Box<create::Args>),
    /// List apps.
    Ps(ps::Args),
    /// Connect to a running app: show its output, and pass input to it if it takes any.
    Attach(attach::Args),
    /// Run another process beside a running app.
    Exec(exec::Args),
    /// Copy files between a running app and this machine.
    Cp(cp::Args),
    /// Show an app's output.
    Logs(logs::Args),
    /// Start apps that do not run.
    Start(start::Args),
    /// Stop apps gracefully, then by force.
    Stop(stop::Args),
    /// Stop apps and start them again.
    Restart(restart::Args),
    /// Send apps a signal.
    Kill(kill::Args),
    /// Wait until apps have ended, and print their exit codes.
    Wait(wait::Args),
    /// Pause apps: none of their vCPUs runs.
    Pause(pause::Args),
    /// Unpause apps.
    Unpause(pause::Args),
    /// Rename an app.
    Rename(rename::Args),
    /// Change the resources of apps.
    Update(update::Args),
    /// Show the resources that apps use.
    Stats(stats::Args),
    /// Show which ports of this machine lead to an app.
    Port(port::Args),
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
    /// Work with images.
    #[command(subcommand)]
    Image(image::Command),
    /// Keep domains booted and waiting for their apps; without flags, show the pools.
    Pool(pool::Args),
    /// Print the domain config of an image, for `xl create`.
    Config(Box<config::Args>),
}

impl Command {
    /// Runs the command, in a process that began at `begin`.
    pub(crate) fn run(self, begin: Instant) -> Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(*args, begin),
            Self::Ps(args) => ps::run(&args),
            Self::Attach(args) => attach::run(&args),
            Self::Exec(args) => exec::run(args),
            Self::Cp(args) => cp::run(&args),
            Self::Logs(args) => logs::run(&args),
            Self::Create(args) => create::run(*args),
            Self::Start(args) => start::run(&args),
            Self::Stop(args) => stop::run(&args),
            Self::Restart(args) => restart::run(&args),
            Self::Kill(args) => kill::run(&args),
            Self::Wait(args) => wait::run(&args),
            Self::Pause(args) => pause::pause(&args),
            Self::Unpause(args) => pause::unpause(&args),
            Self::Rename(args) => rename::run(&args),
            Self::Update(args) => update::run(&args),
            Self::Stats(args) => stats::run(&args),
            Self::Port(args) => port::run(&args),
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
