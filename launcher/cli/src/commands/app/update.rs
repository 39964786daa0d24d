//! `launch update`: change the resources of apps.

use crate::commands::each::each;
use crate::commands::shape::CpuFlags;
use crate::here::Here;
use crate::output::say;
use anyhow::{Result, bail};
use app::life;
use app::request::parse_size_mib;
use app::{Change, RestartPolicy};
use std::process::ExitCode;

/// The apps, and the changes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A running domain can have at most the memory and vCPUs that it was built with, and less at once. It gets
more than that at its next start.")]
pub(crate) struct Args {
    /// Memory of the domain, in bytes or with a unit (96m, 1g)
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size_mib)]
    memory: Option<u32>,
    /// Virtual CPUs of the domain
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=128))]
    vcpus: Option<u32>,
    #[command(flatten)]
    cpu: CpuFlags,
    /// When to start the app again after it ended: no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    /// Names, or beginnings of names or ids
    #[arg(required = true)]
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let vcpus = args.vcpus.or(args.cpu.vcpus()?);
    let change = Change {
        memory_mib: args.memory,
        vcpus,
        schedule: args.cpu.schedule(vcpus)?,
        restart: args.restart,
    };
    if change == Change::default() {
        bail!("nothing to change; give --memory, --vcpus, --cpus, --cpu-weight or --restart");
    }
    let apps = Here::new()?.apps()?;
    each(&args.apps, |name| {
        for later in life::update(&apps, &apps.find(name)?, &change)?.later {
            say(later);
        }
        Ok(())
    })
}
