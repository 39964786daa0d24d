//! `ci/startup-time`: compares how fast each way of starting an app is.

mod engine;
mod kernels;
mod launch;
mod limits;
mod phases;
mod plan;
mod prepare;
mod report;
mod rounds;
mod segments;
mod xl;

use crate::command::{Wanted, Where};
use crate::report::{Files, Report, run};
use crate::testbed::Testbed;
use anyhow::{Result, bail};
use clap::Parser;
use lab::clock::Clock;
use lab::dom0::Extra;
use lab::host::{project_root, say};
use prepare::{CONTENDERS, prepare, take_down};
use report::{Entry, Startup};
use rounds::{App, NEVER_ANSWERS};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// The apps: the image, the question to ask, and the port that answers.
const APPS: [(&str, &str, u16); 2] = [("nginx", "http", 80), ("redis", "redis-ping", 6379)];
/// The most starts that report their phases, and the most boots of each kernel.
const MOST_PHASE_ROUNDS: usize = 5;
/// Counted instructions, because there is one start at a time and two runs should agree.
const DEFAULT_CLOCK: Clock = Clock::Instructions;

/// Starts an app in every possible way, round by round, and shows the time of each way to the first right answer.
///
/// For exact figures, run nothing else on the machine.
#[derive(Debug, Parser)]
#[command(name = "ci/startup-time", bin_name = "ci/startup-time", max_term_width = 100)]
struct Cli {
    /// Image to start: nginx, asked for its page, or redis, asked to PING
    #[arg(long, value_name = "IMAGE", default_value = "nginx", value_parser = ["nginx", "redis"])]
    app: String,
    /// Contenders to run: launch-native-pvh, launch-native-pv, launch-xl-pvh, launch-xl-pv,
    /// launch-pool, launch-pool-image, xl-stock, crun, runc, podman, docker; and xl-create and
    /// kernels, which ratios need [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_name)]
    only: Vec<String>,
    /// Starts of each contender, after one to warm up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    #[command(flatten)]
    dom0: Where,
    #[command(flatten)]
    files: Files,
    /// Fail if a ratio is above its limit in ci/startup-limits.toml
    #[arg(long)]
    check: bool,
    /// Measure nothing; read the figures that an earlier run wrote with --json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["app", "here", "only", "rounds"])]
    from: Option<PathBuf>,
}

impl Cli {
    fn app(&self) -> (&'static str, &'static str, u16) {
        APPS.into_iter().find(|(name, ..)| *name == self.app).unwrap_or(APPS[0])
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

fn parse_name(name: &str) -> Result<String, String> {
    let names = CONTENDERS.map(|(name, _)| name);
    match names.contains(&name) || name == "kernels" {
        true => Ok(name.into()),
        false => Err(format!("{name:?} is not a contender; there are {}", names.join(", "))),
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let check = |figures: &Startup| match cli.check {
        true => limits::check(figures, &project_root().join("ci/startup-limits.toml")),
        false => Ok(()),
    };
    run(&cli.files, cli.from.as_ref(), cli.dom0.here, || measure(&cli), check)
}

fn measure(cli: &Cli) -> Result<Report<Startup>> {
    let (name, extra, size) = ("startup", Some(Extra::Containers), None);
    let wanted = Wanted { name, extra, size, clock: DEFAULT_CLOCK, is_kept: true };
    cli.dom0.run(&wanted, |dom0| {
        Testbed::with(dom0, cli.app().0, &take_down(), |testbed| compare(cli, testbed))
    })
}

fn compare(cli: &Cli, testbed: &Testbed<'_>) -> Result<Report<Startup>> {
    let (_, question, port) = cli.app();
    let (mut all, missing) = prepare_all(cli, testbed)?;
    let count = usize::from(cli.rounds);
    let few = count.min(MOST_PHASE_ROUNDS);
    let result = rounds::run(&App { testbed, question, port }, &mut all, count, few);
    for entry in &all {
        testbed.dom0.sh(&entry.plan.at_end)?;
    }
    result?;
    let kernels = match cli.wants("kernels") {
        true => kernels::compare(testbed, few)?,
        false => Vec::new(),
    };
    if all.is_empty() && kernels.is_empty() {
        bail!("none of the contenders is available");
    }
    let (xl_create, contenders): (Vec<Entry>, Vec<Entry>) =
        all.into_iter().partition(|entry| entry.name == NEVER_ANSWERS);
    let figures = Startup {
        image: format!("{} {}", testbed.image.name, testbed.image.digest),
        question: question.into(),
        rounds: count,
        contenders,
        xl_create: xl_create.into_iter().next(),
        kernels,
        missing,
        ratios: BTreeMap::new(),
        intervals: BTreeMap::new(),
    };
    let mut report = cli.dom0.report(testbed.dom0, DEFAULT_CLOCK, figures)?;
    report.figures.summarize(report.emulated.is_some());
    Ok(report)
}

/// The available contenders among the requested ones, and why the others are not available.
fn prepare_all(cli: &Cli, testbed: &Testbed<'_>) -> Result<(Vec<Entry>, BTreeMap<String, String>)> {
    let (mut all, mut missing) = (Vec::new(), BTreeMap::new());
    for (name, contender) in CONTENDERS.into_iter().filter(|(name, _)| cli.wants(name)) {
        say(&format!("preparing {name}"));
        match prepare(name, contender, testbed)? {
            Ok(plan) => all.push(Entry::new(name, plan)),
            Err(reason) => {
                say(&format!("{name} is not available: {reason}"));
                missing.insert(name.into(), reason);
            }
        }
    }
    Ok((all, missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::assert_docs_are_current;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["x", "--only", "crun,kernels"]);
        assert!(cli.wants("crun") && !cli.wants("runc"));
        let error = Cli::try_parse_from(["x", "--only", "lxc"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation);
    }

    #[test]
    fn the_page_in_docs_is_what_its_figures_give() {
        assert_docs_are_current::<Startup>("startup-time");
        assert_docs_are_current::<Startup>("startup-time-wall");
    }
}
