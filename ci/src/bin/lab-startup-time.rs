//! `ci/startup-time`: how fast each way of starting an app is, side by side.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use lab::accelerator::Accelerator;
use lab::host::{project_root, say};
use lab::instance::{Instance, Options};
use lab::registry;
use lab::stage::default_stage;
use lab::startup::contender::Contender;
use lab::startup::ground;
use lab::startup::place::Place;
use lab::startup::plan;
use lab::startup::report::{self, Report, Series};
use lab::startup::rounds;
use lab::xen_version::XenVersion;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// Starts an app in every way there is, side by side and round by round, and shows how long each
/// took to the first right answer.
#[derive(Debug, Parser)]
#[command(name = "ci/startup-time", bin_name = "ci/startup-time", max_term_width = 100)]
struct Cli {
    /// Contenders to run: launch-native-pvh, launch-native-pv, launch-xl-pvh, launch-xl-pv,
    /// launch-pool, launch-pool-image, xl-stock, crun, runc, podman, docker
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<Contender>,
    /// Starts of each contender, after one that warms up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// On this dom0 instead of in a lab
    #[arg(long)]
    here: bool,
    /// Write everything that was measured to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take the last build and build nothing
    #[arg(long)]
    no_build: bool,
    /// Xen of the lab: 4.20 (Debian 13) or 4.17 (Debian 12)
    #[arg(long, default_value_t, env = "LAB_XEN")]
    xen: XenVersion,
    /// Name of the lab
    #[arg(long, default_value = "startup", env = "LAB_NAME")]
    name: String,
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
    let place = find_place(cli)?;
    ground::clear(&place)?;
    let result = compare(cli, &place);
    let cleared = ground::clear(&place);
    let (report, alike) = result?;
    cleared?;
    if let Some(path) = &cli.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print!("{}", report::render_table(&report));
    ensure!(alike, "the answers differ: the contenders did not do equal work");
    Ok(())
}

fn find_place(cli: &Cli) -> Result<Place> {
    if cli.here {
        ensure!(std::path::Path::new("/dev/xen/privcmd").exists(), "this is not a Xen dom0");
        ensure!(rustix::process::geteuid().is_root(), "--here needs root");
        return Ok(Place::Here);
    }
    if !cli.no_build {
        let mut build = Command::new(project_root().join("ci/build"));
        let status = build.stdout(Stdio::null()).status().context("cannot start ci/build")?;
        ensure!(status.success(), "ci/build failed");
    }
    let port = registry::start()?;
    let lab =
        Instance::up(&Options { name: cli.name.clone(), xen: cli.xen, ..Options::default() })?;
    ensure!(lab.install_stage(&default_stage())?, "there is no build; run ci/build");
    let place = Place::Lab(lab);
    let settings = registry::mirror_settings(port);
    place.write("/etc/launch/config.toml", 0o644, settings.as_bytes())?;
    Ok(place)
}

fn compare(cli: &Cli, place: &Place) -> Result<(Report, bool)> {
    ground::install_client(place)?;
    let image = ground::prepare_image(place, "nginx")?;
    ground::prepare_bridge(place)?;
    let mut all = Vec::new();
    let mut missing = BTreeMap::new();
    let wanted = |contender: &Contender| cli.only.is_empty() || cli.only.contains(contender);
    for contender in Contender::ALL.into_iter().filter(wanted) {
        match plan::prepare(contender, place, &image)? {
            Ok(plan) => {
                let (warm_up, rounds, phases_ms) = (None, Vec::new(), Vec::new());
                all.push(Series { contender, plan, warm_up, rounds, phases_ms });
            }
            Err(reason) => {
                say(&format!("{contender} is not here: {reason}"));
                missing.insert(contender.to_string(), reason);
            }
        }
    }
    if all.is_empty() {
        bail!("none of the contenders is here");
    }
    rounds::run(place, &mut all, "http", 80, cli.rounds.into())?;
    let contenders = report::entries(&all);
    let emulated = match (cli.here, Accelerator::detect(false)) {
        (false, Accelerator::Emulation(reason)) => Some(format!(
            "Xen ran in QEMU without hardware virtualization ({reason}). A processor instruction \
             takes some 10 times as long as on hardware and a VM exit some 100 times: ratios between \
             contenders are distorted against those that exit often, and no time is a real machine's."
        )),
        _ => None,
    };
    let report = Report {
        emulated,
        version: report::VERSION,
        date: String::new(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        machine: BTreeMap::new(),
        image: format!("{} {}", image.name, image.digest),
        question: "http".into(),
        rounds: cli.rounds.into(),
        contenders,
        missing,
        ratios: BTreeMap::new(),
        intervals: BTreeMap::new(),
    };
    Ok((report, report::answers(&all).len() == 1))
}
