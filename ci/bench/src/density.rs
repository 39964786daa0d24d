//! `ci/density`: how many domains of one image fit, and what each of them costs.

mod at_once;
mod fill;
mod memory;
mod numbered;
mod report;

use crate::command::{Stop, Wanted, Where};
use crate::report::{Files, Report, run};
use crate::side::Side;
use crate::testbed::{Guest, Testbed};
use anyhow::{Result, ensure};
use clap::Parser;
use fill::fill;
use lab::clock::Clock;
use lab::host::say;
use lab::qemu::Size;
use numbered::{MOST, take_down_all};
use report::Density;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Real time, because launches at once must show the effect of two processors.
const DEFAULT_CLOCK: Clock = Clock::Wall;

/// Starts domains of one image until no more fit, then as many containers, and shows how launch time and memory grow.
/// Removes them all at the end.
///
/// For exact figures, run nothing else on the machine.
#[derive(Debug, Parser)]
#[command(name = "ci/density", bin_name = "ci/density", max_term_width = 100)]
struct Cli {
    /// Image to start: nginx or hello, asked for its page
    #[arg(long, value_name = "IMAGE", default_value = "nginx", value_parser = ["nginx", "hello"])]
    app: String,
    /// Most domains, and most containers [default: as many domains as fit into memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST)))]
    max: Option<u16>,
    /// Type of the domains, pv or pvh [default: launch's choice]
    #[arg(long = "type", value_name = "TYPE", value_parser = ["pv", "pvh"])]
    kind: Option<String>,
    /// Memory of each domain in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    domain_memory: u32,
    /// Also start this many at once and in a row, as PV and PVH; 0 skips this
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

fn measure(cli: &Cli) -> Result<Report<Density>> {
    let stop = Stop::on_signal()?;
    let size = Size { memory_mib: cli.memory, dom0_memory_mib: cli.dom0_memory, ..Size::default() };
    let (name, size) = ("density", Some(size));
    let wanted = Wanted { name, extra: None, size, clock: DEFAULT_CLOCK, is_kept: false };
    cli.dom0.run(&wanted, |dom0| {
        Testbed::with(dom0, &cli.app, &take_down_all(), |testbed| compare(cli, testbed, &stop))
    })
}

fn compare(cli: &Cli, testbed: &Testbed<'_>, stop: &Stop) -> Result<Report<Density>> {
    let dom0 = testbed.dom0;
    let kind =
        cli.kind.clone().map_or_else(|| Guest::of_probe(testbed).map(|guest| guest.kind), Ok)?;
    let (domains, containers) = (Side::domain(&kind, cli.domain_memory), Side::crun());
    // The first start records which pages a start reads, and warms dom0's page cache up.
    for side in [&domains, &containers] {
        let name = side.name();
        say(&format!("warm-up: {name}"));
        let warm = fill(testbed, side, 1, stop)?;
        stop.check()?;
        ensure!(warm.starts.len() == 1, "{name} does not start: {:?}", warm.failures);
    }
    let kinds: &[&str] = if cli.at_once > 0 { &["pv", "pvh"] } else { &[] };
    let at_once = |kind| at_once::compare(testbed, kind, cli.domain_memory, cli.at_once, stop);
    let at_once = kinds.iter().copied().map(at_once).collect::<Result<_>>()?;
    let filled = fill(testbed, &domains, cli.max.unwrap_or(MOST), stop)?;
    let count = u16::try_from(filled.starts.len())?.max(1);
    let contained = fill(testbed, &containers, cli.max.unwrap_or(count).min(count), stop)?;

    let bytes: f64 = dom0.sh(&format!("stat -c %s {}", testbed.image.disk))?.trim().parse()?;
    let mut figures = Density {
        image: format!("{} {}", testbed.image.name, testbed.image.digest),
        image_mib: bytes / f64::from(1 << 20),
        sides: vec![filled, contained],
        at_once,
        ratios: BTreeMap::new(),
    };
    figures.summarize();
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
        let error = Cli::try_parse_from(["x", "--memory", "30000"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation);
        Cli::try_parse_from(["x", "--type", "pv", "--max", "150"]).unwrap();
    }

    #[test]
    fn the_page_in_docs_is_what_its_figures_give() {
        assert_docs_are_current::<Density>("density");
    }
}
