//! `ci/throughput`: how much work an app does in a domain and in a container.

mod contender;
mod report;
mod rounds;
mod workload;

use crate::command::{Stop, Wanted, Where};
use crate::dom0::Dom0;
use crate::report::{Files, Report, run};
use crate::side::App;
use crate::testbed::Testbed;
use anyhow::{Context, Result};
use clap::Parser;
use contender::{NAMES, app, take_down_all};
use lab::clock::Clock;
use lab::qemu::Size;
use report::Throughput;
use rounds::{Extent, run_disk, run_loads};
use std::path::PathBuf;
use std::process::ExitCode;
use workload::{NGINX, REDIS};

/// Real time, because client and server work at the same time.
const DEFAULT_CLOCK: Clock = Clock::Wall;

/// Loads nginx and redis in domains and in a container of crun, in turns; also makes each write to its disk and read
/// its image. Shows rates and tail latencies.
///
/// For exact figures, run nothing else on the machine.
#[derive(Debug, Parser)]
#[command(name = "ci/throughput", bin_name = "ci/throughput", max_term_width = 100)]
struct Cli {
    /// Sides to run: launch-pvh, launch-pv, crun [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = NAMES)]
    only: Vec<String>,
    /// Rounds of each workload
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of each load
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections of each load
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// Memory of each domain in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    domain_memory: u32,
    #[command(flatten)]
    dom0: Where,
    #[command(flatten)]
    files: Files,
    /// Measure nothing; read the figures that an earlier run wrote with --json
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    run(&cli.files, cli.from.as_ref(), cli.dom0.here, || measure(&cli), |_| Ok(()))
}

fn measure(cli: &Cli) -> Result<Report<Throughput>> {
    // Two processors, because a container and the client share dom0's, while a domain has one of its own.
    let size = Some(Size { dom0_vcpus: 2, ..Size::default() });
    let name = "throughput";
    let wanted = Wanted { name, extra: None, size, clock: DEFAULT_CLOCK, is_kept: false };
    let stop = Stop::on_signal()?;
    cli.dom0.run(&wanted, |dom0| compare(cli, dom0, &stop))
}

fn compare(cli: &Cli, dom0: &Dom0, stop: &Stop) -> Result<Report<Throughput>> {
    let is_wanted = |name: &&str| cli.only.is_empty() || cli.only.iter().any(|only| only == name);
    let contenders: Vec<App> =
        NAMES.into_iter().filter(is_wanted).map(|name| app(name, cli.domain_memory)).collect();
    let (mut workloads, mut images) = (Vec::new(), Vec::new());
    for served in [NGINX, REDIS] {
        let result = Testbed::with(dom0, served.image, &take_down_all(), |testbed| {
            images.push(format!("{} {}", testbed.image.name, testbed.image.digest));
            let (contenders, rounds) = (&contenders[..], cli.rounds.into());
            let (connections, seconds) = (cli.connections, cli.seconds);
            let extent = Extent { testbed, contenders, rounds, connections, seconds, stop };
            workloads.extend(run_loads(&extent, &served)?);
            if served == NGINX {
                workloads.extend(run_disk(&extent)?);
            }
            Ok(())
        });
        result.with_context(|| format!("cannot measure {}", served.image))?;
    }
    for measured in &mut workloads {
        measured.summarize();
    }
    let ready = contenders.iter().map(|one| (one.side.name(), one.side.ready())).collect();
    let figures = Throughput {
        images,
        rounds: cli.rounds,
        connections: cli.connections,
        seconds: cli.seconds,
        memory_mib: cli.domain_memory,
        ready,
        workloads,
    };
    cli.dom0.report(dom0, DEFAULT_CLOCK, figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::assert_docs_are_current;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        Cli::try_parse_from(["x", "--only", "crun,launch-pv"]).unwrap();
        let error = Cli::try_parse_from(["x", "--only", "docker"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::InvalidValue);
    }

    #[test]
    fn the_page_in_docs_is_what_its_figures_give() {
        assert_docs_are_current::<Throughput>("throughput");
    }
}
