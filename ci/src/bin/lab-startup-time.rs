//! `ci/startup-time`: how fast each way of starting an app is, side by side.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use lab::accelerator::Accelerator;
use lab::dom0::Extra;
use lab::host::{install_missing, project_root, say};
use lab::instance::{Instance, Options, accelerator};
use lab::registry;
use lab::stage::default_stage;
use lab::startup::contender::Contender;
use lab::startup::document;
use lab::startup::ground::{self, App, Ground};
use lab::startup::kernels;
use lab::startup::limits;
use lab::startup::machine;
use lab::startup::picture;
use lab::startup::place::Place;
use lab::startup::plan;
use lab::startup::report::{self, Entry, Report};
use lab::startup::rounds::{self, Series};
use lab::startup::table;
use lab::xen_version::XenVersion;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What can be started: the image, what it is asked, and the port it answers at.
const APPS: [(&str, &str, u16); 2] = [("nginx", "http", 80), ("redis", "redis-ping", 6379)];
/// (program or file, package) of what a PNG is made with.
const PICTURE_PROGRAMS: &[(&str, &str)] = &[
    ("rsvg-convert", "librsvg2-bin"),
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
];
/// Starts that tell their phases, and boots of each kernel.
const MOST_PHASE_ROUNDS: usize = 5;

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
    /// On this dom0 instead of in a lab
    #[arg(long)]
    here: bool,
    /// Write everything that was measured to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw it: an SVG file, and a PNG beside it
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// Write it as a page; it names the picture and the JSON file
    #[arg(long, value_name = "FILE.md", requires_all = ["json", "picture"])]
    document: Option<PathBuf>,
    /// Fail when a ratio is above its limit in ci/startup-limits.toml
    #[arg(long)]
    check: bool,
    /// Measure nothing: take what an earlier run wrote with --json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["app", "here", "only", "rounds"])]
    from: Option<PathBuf>,
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
    if cli.picture.is_some() && !cli.here {
        install_missing(PICTURE_PROGRAMS)?;
    }
    let report = match &cli.from {
        Some(path) => read_report(path)?,
        None => measure(cli)?,
    };
    write_files(cli, &report)?;
    print!("{}", table::render(&report));
    ensure!(report.is_equal_work(), "the answers differ: the contenders did not do equal work");
    if cli.check {
        let broken = limits::broken(&report, &project_root().join("ci/startup-limits.toml"))?;
        ensure!(broken.is_empty(), "above the limits:\n{}", broken.join("\n"));
    }
    Ok(())
}

fn measure(cli: &Cli) -> Result<Report> {
    let (place, registry) = find_place(cli)?;
    let ground = Ground::prepare(place, registry, cli.app().0)?;
    let result = compare(cli, &ground);
    let cleared = ground::clear(&ground.place);
    let report = result?;
    cleared?;
    Ok(report)
}

fn read_report(path: &Path) -> Result<Report> {
    let explain = || format!("cannot read {}", path.display());
    let text = std::fs::read(path).with_context(explain)?;
    serde_json::from_slice(&text).with_context(explain)
}

fn write_files(cli: &Cli, report: &Report) -> Result<()> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &cli.json {
        write(path, serde_json::to_string_pretty(report)? + "\n")?;
    }
    if let Some(path) = &cli.picture {
        picture::write(report, path)?;
    }
    if let (Some(page), Some(picture), Some(json)) = (&cli.document, &cli.picture, &cli.json) {
        let beside = |file: &Path| relative_to(file, page);
        write(page, document::render(report, &beside(picture), &beside(json)))?;
    }
    Ok(())
}

/// How a page names a file: as it was given, less the page's own folder.
fn relative_to(file: &Path, page: &Path) -> String {
    let folder = page.parent().unwrap_or(Path::new(""));
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

/// dom0, and the registry that it pulls from where that is not Docker Hub.
fn find_place(cli: &Cli) -> Result<(Place, Option<String>)> {
    if cli.here {
        ensure!(Path::new("/dev/xen/privcmd").exists(), "--here: this is not a Xen dom0");
        ensure!(rustix::process::geteuid().is_root(), "--here needs root");
        return Ok((Place::Here, None));
    }
    if !cli.no_build {
        let mut build = Command::new(project_root().join("ci/build"));
        let status = build.stdout(Stdio::null()).status().context("cannot start ci/build")?;
        ensure!(status.success(), "ci/build failed");
    }
    let port = registry::start()?;
    let lab = Instance::up(&Options {
        name: cli.name.clone(),
        xen: cli.xen,
        extra: Some(Extra::Containers),
        ..Options::default()
    })?;
    ensure!(lab.install_stage(&default_stage())?, "there is no build; run ci/build");
    let place = Place::Lab(lab);
    let settings = registry::mirror_settings(port);
    place.write("/etc/launch/config.toml", 0o644, settings.as_bytes())?;
    Ok((place, Some(format!("10.0.2.2:{port}"))))
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
        emulated: emulated(cli, machine.get("processor"))?,
        version: report::VERSION,
        date: ground.place.sh("date -u '+%Y-%m-%d %H:%M'")?.trim().to_owned(),
        command: command_line(),
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

/// As a user types it.
fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    ["ci/startup-time".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// What to say first where no hardware runs Xen.
fn emulated(cli: &Cli, processor: Option<&String>) -> Result<Option<String>> {
    let reason = match (cli.here, accelerator()?) {
        (false, Accelerator::Emulation(reason)) => reason,
        // So QEMU's emulation calls itself.
        (true, _) if processor.is_some_and(|name| name.starts_with("QEMU Virtual CPU")) => {
            "the processor is QEMU's".into()
        }
        _ => return Ok(None),
    };
    Ok(Some(format!(
        "Xen ran in QEMU without hardware virtualization ({reason}). Every instruction takes many \
         times as long as on hardware, a VM exit and a page-table change more than others: no time \
         here is a real machine's, and ratios are distorted against those that exit often."
    )))
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
