//! `ci/throughput`: how much an app does in a domain and in a container.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use bench::compare::command::{self, Ready, Wanted, Where, command_line, date};
use bench::compare::ground::{self, Ground};
use bench::compare::machine;
use bench::compare::output::{self, Files};
use bench::compare::place::Place;
use bench::throughput::contender::{Contender, take_down_all};
use bench::throughput::document;
use bench::throughput::picture;
use bench::throughput::report::{self, Measured, Report};
use bench::throughput::rounds::{Extent, run_disk, run_loads};
use bench::throughput::table;
use bench::throughput::workload::{App, NGINX, REDIS};
use clap::Parser;
use lab::clock::Clock;
use lab::host::say;
use lab::qemu::Size;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

/// Client and server work at once.
const DEFAULT_CLOCK: Clock = Clock::Wall;

/// Loads nginx and redis in domains and in a container of crun, in turns, and has each write to its
/// disk and read its image; shows rates and tail latencies.
///
/// For exact figures nothing else should run on the machine.
#[derive(Debug, Parser)]
#[command(name = "ci/throughput", bin_name = "ci/throughput", max_term_width = 100)]
struct Cli {
    /// Sides to run: launch-pvh, launch-pv, crun [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = Contender::NAMES)]
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
    /// Measure nothing: take what an earlier run wrote with --json
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    cli.files.prepare(cli.dom0.here)?;
    let report = match &cli.from {
        Some(path) => output::read(path)?,
        None => measure(cli)?,
    };
    cli.files.write(&report, picture::draw, document::render)?;
    print!("{}", table::render(&report));
    for measured in &report.workloads {
        ensure!(measured.is_equal_work(), "{}: the answers differ", measured.name);
    }
    Ok(())
}

fn measure(cli: &Cli) -> Result<Report> {
    // A container and the client share dom0's processors: two, as a domain has one of its own.
    let size = Size { dom0_vcpus: 2, ..Size::default() };
    let wanted = Wanted {
        name: "throughput",
        extra: None,
        size: Some(size),
        clock: cli.dom0.clock(DEFAULT_CLOCK),
    };
    let stop = command::stop_flag()?;
    let Ready { place, registry, brought_up } = cli.dom0.open(&wanted)?;
    let result = compare(cli, place, registry.as_ref(), &stop);
    let ended = command::end(brought_up.as_ref());
    let report = result?;
    ended?;
    Ok(report)
}

fn compare(
    cli: &Cli,
    mut place: Place,
    registry: Option<&String>,
    stop: &AtomicBool,
) -> Result<Report> {
    let is_wanted = |name: &&str| cli.only.is_empty() || cli.only.iter().any(|only| only == name);
    let contenders: Vec<Contender> = Contender::NAMES
        .into_iter()
        .filter(is_wanted)
        .map(|name| Contender { name: name.into(), memory_mib: cli.domain_memory })
        .collect();
    let extent = Extent { rounds: cli.rounds, connections: cli.connections, seconds: cli.seconds };
    let take_down = take_down_all();
    let (mut workloads, mut images) = (Vec::new(), Vec::new());
    for app in [NGINX, REDIS] {
        let ground = Ground::prepare(place, registry.cloned(), app.image, &take_down)?;
        images.push(format!("{} {}", ground.image.name, ground.image.digest));
        let result = run_app(&ground, &contenders, app, extent, stop);
        let cleared = ground::clear(&ground.place, &take_down);
        workloads.extend(result.with_context(|| format!("cannot measure {}", app.image))?);
        cleared?;
        place = ground.place;
    }
    for measured in &mut workloads {
        measured.summarize();
    }
    let machine = machine::facts(&place)?;
    Ok(Report {
        emulated: cli.dom0.emulated(DEFAULT_CLOCK, machine.get("processor"))?,
        version: report::VERSION,
        date: date()?,
        command: command_line("ci/throughput"),
        machine,
        images,
        rounds: cli.rounds,
        connections: cli.connections,
        seconds: cli.seconds,
        memory_mib: cli.domain_memory,
        ready: contenders.iter().map(|side| (side.name.clone(), side.ready())).collect(),
        workloads,
    })
}

/// The loads of an app; of nginx's image the disk too.
fn run_app(
    ground: &Ground,
    contenders: &[Contender],
    app: App,
    extent: Extent,
    stop: &AtomicBool,
) -> Result<Vec<Measured>> {
    let mut all = run_loads(ground, contenders, &app, extent, stop)?;
    if app == NGINX {
        all.extend(run_disk(ground, contenders, extent.rounds, stop)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["x", "--only", "crun,launch-pv"]).is_ok());
        assert!(Cli::try_parse_from(["x", "--only", "docker"]).is_err());
    }
}
