//! `ci/startup-time`: how fast each way of starting an app is, side by side.
#![forbid(unsafe_code)]

use anyhow::{Result, bail, ensure};
use bench::compare::command::{Ready, Wanted, Where, command_line, date};
use bench::compare::ground::{self, App, Ground};
use bench::compare::machine;
use bench::compare::output::{self, Files};
use bench::startup::contender::Contender;
use bench::startup::document;
use bench::startup::kernels;
use bench::startup::limits;
use bench::startup::picture;
use bench::startup::plan;
use bench::startup::report::{self, Entry, Report};
use bench::startup::rounds::{self, Series};
use bench::startup::table;
use clap::Parser;
use lab::clock::Clock;
use lab::dom0::Extra;
use lab::host::{project_root, say};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be started: the image, what it is asked, and the port it answers at.
const APPS: [(&str, &str, u16); 2] = [("nginx", "http", 80), ("redis", "redis-ping", 6379)];
/// Starts that tell their phases, and boots of each kernel.
const MOST_PHASE_ROUNDS: usize = 5;
/// One start at a time: two runs are to agree.
const DEFAULT_CLOCK: Clock = Clock::Instructions;

/// Starts an app in every way there is, side by side and round by round, and shows how long each
/// took to the first right answer.
///
/// For exact figures nothing else should run on the machine.
#[derive(Debug, Parser)]
#[command(name = "ci/startup-time", bin_name = "ci/startup-time", max_term_width = 100)]
struct Cli {
    /// What is started: nginx, asked for its page, or redis, asked to PING
    #[arg(long, value_name = "IMAGE", default_value = "nginx", value_parser = ["nginx", "redis"])]
    app: String,
    /// Contenders to run: launch-native-pvh, launch-native-pv, launch-xl-pvh, launch-xl-pv,
    /// launch-pool, launch-pool-image, xl-stock, crun, runc, podman, docker; and xl-create and
    /// kernels, which ratios need [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_name)]
    only: Vec<String>,
    /// Starts of each contender, after one that warms up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    #[command(flatten)]
    dom0: Where,
    #[command(flatten)]
    files: Files,
    /// Fail when a ratio is above its limit in ci/startup-limits.toml
    #[arg(long)]
    check: bool,
    /// Measure nothing: take what an earlier run wrote with --json
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
    match name {
        "xl-create" | "kernels" => Ok(name.into()),
        _ => name.parse::<Contender>().map(|contender| contender.to_string()),
    }
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
    ensure!(report.is_equal_work(), "the answers differ: the contenders did not do equal work");
    if cli.check {
        let broken = limits::broken(&report, &project_root().join("ci/startup-limits.toml"))?;
        ensure!(broken.is_empty(), "above the limits:\n{}", broken.join("\n"));
    }
    Ok(())
}

fn measure(cli: &Cli) -> Result<Report> {
    let wanted = Wanted {
        name: "startup",
        extra: Some(Extra::Containers),
        size: None,
        clock: cli.dom0.clock(DEFAULT_CLOCK),
    };
    let Ready { place, registry, .. } = cli.dom0.open(&wanted)?;
    let take_down = plan::take_down();
    let ground = Ground::prepare(place, registry, cli.app().0, &take_down)?;
    let result = compare(cli, &ground);
    let cleared = ground::clear(&ground.place, &take_down);
    let report = result?;
    cleared?;
    Ok(report)
}

fn compare(cli: &Cli, ground: &Ground) -> Result<Report> {
    let (_, question, port) = cli.app();
    let mut all = Vec::new();
    let mut missing = BTreeMap::new();
    for contender in Contender::ALL {
        let name = contender.to_string();
        if !cli.wants(&name) {
            continue;
        }
        say(&format!("preparing {name}"));
        match plan::prepare(contender, ground)? {
            Ok(plan) => all.push(Series::new(name, plan, question, contender.is_launch())),
            Err(reason) => {
                say(&format!("{name} is not here: {reason}"));
                missing.insert(name, reason);
            }
        }
    }
    let app = match cli.wants("xl-create") || cli.wants("kernels") {
        true => Some(App::of_probe(ground)?),
        false => None,
    };
    if let (Some(app), true) = (&app, cli.wants("xl-create")) {
        let plan = plan::prepare_same_domain(app, ground)?;
        all.push(Series::new("xl-create".into(), plan, "nothing", false));
    }
    let count = usize::from(cli.rounds);
    let few = count.min(MOST_PHASE_ROUNDS);
    let result = rounds::run(ground, &mut all, port, count, few);
    for series in &all {
        ground.place.sh(&series.plan.at_end)?;
    }
    result?;
    let kernels = match &app {
        Some(app) if cli.wants("kernels") => kernels::compare(app, ground, few)?.into(),
        _ => Vec::new(),
    };
    if all.is_empty() && kernels.is_empty() {
        bail!("none of the contenders is here");
    }
    let (xl_create, contenders): (Vec<Entry>, Vec<Entry>) =
        report::entries(&all).into_iter().partition(|entry| entry.name == "xl-create");
    let machine = machine::facts(&ground.place)?;
    let mut report = Report {
        emulated: cli.dom0.emulated(DEFAULT_CLOCK, machine.get("processor"))?,
        version: report::VERSION,
        date: date()?,
        command: command_line("ci/startup-time"),
        machine,
        image: format!("{} {}", ground.image.name, ground.image.digest),
        question: question.into(),
        rounds: count,
        contenders,
        xl_create: xl_create.into_iter().next(),
        kernels,
        missing,
        ratios: BTreeMap::new(),
        intervals: BTreeMap::new(),
    };
    report.set_ratios();
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["x", "--only", "crun,kernels"]);
        assert!(cli.wants("crun") && !cli.wants("runc"));
        assert!(Cli::try_parse_from(["x", "--only", "lxc"]).is_err());
    }
}
