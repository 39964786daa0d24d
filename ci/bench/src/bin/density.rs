//! `ci/density`: how many domains of one image fit, and what each costs.
#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use bench::compare::command::{self, Ready, Wanted, Where, command_line, date};
use bench::compare::ground::{self, App, Ground};
use bench::compare::machine;
use bench::compare::output::{self, Files};
use bench::density::at_once;
use bench::density::document;
use bench::density::fill::fill;
use bench::density::picture;
use bench::density::report::{self, Report};
use bench::density::side::{MOST, Side, take_down_all};
use bench::density::table;
use clap::Parser;
use lab::clock::Clock;
use lab::host::say;
use lab::qemu::Size;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// The port that the app answers at.
const PORT: u16 = 80;

/// Launches at once are to show what two processors bring.
const DEFAULT_CLOCK: Clock = Clock::Wall;

/// Starts domains of one image until no more fit, then as many containers, and shows how launch time
/// and memory grow. Ends by itself and takes everything down.
///
/// For exact figures nothing else should run on the machine.
#[derive(Debug, Parser)]
#[command(name = "ci/density", bin_name = "ci/density", max_term_width = 100)]
struct Cli {
    /// What is started: nginx or hello, asked for their page
    #[arg(long, value_name = "IMAGE", default_value = "nginx", value_parser = ["nginx", "hello"])]
    app: String,
    /// Most domains, and most containers [default: as many domains as the memory takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST)))]
    max: Option<u16>,
    /// Type of the domains, pv or pvh [default: what launch chooses here]
    #[arg(long = "type", value_name = "TYPE", value_parser = ["pv", "pvh"])]
    kind: Option<String>,
    /// Memory of each domain in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    domain_memory: u32,
    /// Also start so many at once, and in a row: PV and PVH; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 16)]
    at_once: u16,
    /// Memory of the lab in MiB
    #[arg(long, value_name = "MIB", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(4096..=20480))]
    memory: u32,
    /// Memory of the lab's dom0 in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1024..=8192))]
    dom0_memory: u32,
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
    ensure!(report.is_equal_work(), "the answers differ: the sides did not do equal work");
    Ok(())
}

fn measure(cli: &Cli) -> Result<Report> {
    let stop = command::stop_flag()?;
    let size = Size { memory_mib: cli.memory, dom0_memory_mib: cli.dom0_memory, ..Size::default() };
    let wanted = Wanted {
        name: "density",
        extra: None,
        size: Some(size),
        clock: cli.dom0.clock(DEFAULT_CLOCK),
    };
    let Ready { place, registry, brought_up } = cli.dom0.open(&wanted)?;
    let take_down = take_down_all();
    let result = Ground::prepare(place, registry, &cli.app, &take_down).and_then(|ground| {
        let result = compare(cli, &ground, &stop);
        let cleared = ground::clear(&ground.place, &take_down);
        result.and_then(|report| cleared.map(|()| report))
    });
    let ended = command::end(brought_up.as_ref());
    let report = result?;
    ended?;
    Ok(report)
}

fn compare(cli: &Cli, ground: &Ground, stop: &AtomicBool) -> Result<Report> {
    let place = &ground.place;
    let kind = match &cli.kind {
        Some(kind) => kind.clone(),
        None => App::of_probe(ground)?.kind,
    };
    let domains = Side::Launch { kind, memory_mib: cli.domain_memory };
    // The first start finds out which pages a start reads, and warms dom0's page cache up.
    for side in [&domains, &Side::Crun] {
        say(&format!("warm-up: {}", side.name()));
        let warm = fill(ground, side, 1, PORT, stop)?;
        ensure!(!stop.load(Ordering::Relaxed), "stopped by a signal");
        ensure!(warm.count() == 1, "{} does not start: {:?}", side.name(), warm.failures);
    }
    let mut at_once = Vec::new();
    if cli.at_once > 0 {
        for kind in ["pv", "pvh"] {
            let (mib, count) = (cli.domain_memory, cli.at_once);
            at_once.push(at_once::compare(ground, kind, mib, count, PORT, stop)?);
        }
    }
    let filled = fill(ground, &domains, cli.max.unwrap_or(MOST), PORT, stop)?;
    let count = u16::try_from(filled.count())?.max(1);
    let containers = fill(ground, &Side::Crun, cli.max.unwrap_or(count).min(count), PORT, stop)?;

    let machine = machine::facts(place)?;
    let bytes: f64 = place.sh(&format!("stat -c %s {}", ground.image.disk))?.trim().parse()?;
    let mut report = Report {
        emulated: cli.dom0.emulated(DEFAULT_CLOCK, machine.get("processor"))?,
        version: report::VERSION,
        date: date()?,
        command: command_line("ci/density"),
        machine,
        image: format!("{} {}", ground.image.name, ground.image.digest),
        image_mib: bytes / f64::from(1 << 20),
        sides: vec![filled, containers],
        at_once,
        ratios: BTreeMap::new(),
    };
    report.summarize();
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["x", "--memory", "30000"]).is_err());
        assert!(Cli::try_parse_from(["x", "--type", "pv", "--max", "150"]).is_ok());
    }
}
