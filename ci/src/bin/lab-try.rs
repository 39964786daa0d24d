//! `ci/try`: starts an app in a Xen domain on a plain Debian machine, with one command.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lab::accelerator::Accelerator;
use lab::app::{App, PORTS_TRIED};
use lab::host::{project_root, say};
use lab::instance::{Instance, Options, accelerator};
use lab::registry;
use lab::stage::default_stage;
use lab::xen_version::XenVersion;
use lab_agent::frame::Start;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// The longest time for a step on a busy emulated machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Starts an app in its own Xen domain on this machine, without changing its boot, and prints where it answers.
///
/// Installs missing packages, builds everything, starts Xen and a dom0 in QEMU, and runs `launch APP` there.
#[derive(Debug, Parser)]
#[command(name = "ci/try", bin_name = "ci/try", max_term_width = 100)]
struct Cli {
    /// nginx, redis, postgres, python, memcached or hello
    #[arg(default_value = "nginx")]
    app: String,
    /// Pull the image from Docker Hub instead of building it from Debian packages
    #[arg(long)]
    hub: bool,
    /// The domain's type: pvh or pv [default: launch's choice]
    #[arg(long = "type", value_name = "TYPE", value_parser = ["pvh", "pv"])]
    kind: Option<String>,
    /// Port on this machine [default: the app's own port, or the next free one]
    #[arg(long)]
    port: Option<u16>,
    /// Use the last build instead of building
    #[arg(long)]
    no_build: bool,
    /// Xen of the lab: 4.20 (Debian 13) or 4.17 (Debian 12)
    #[arg(long, default_value_t, env = "LAB_XEN")]
    xen: XenVersion,
    /// Name of the lab
    #[arg(long, default_value = "default", env = "LAB_NAME")]
    name: String,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let app = App::find(&cli.app)?;
    if !cli.no_build {
        build()?;
    }
    let settings = match cli.hub {
        true => String::new(),
        false => registry::mirror_settings(registry::start()?),
    };
    let options = Options { name: cli.name.clone(), xen: cli.xen, ..Options::default() };
    let lab = Instance::up(&options)?;
    ensure!(lab.install_stage(&default_stage())?, "nothing is built; run ci/build");
    let write = "mkdir -p /etc/launch && cat >/etc/launch/config.toml";
    in_dom0(&lab, &["sh", "-c", write], settings.as_bytes())?;

    let name = match cli.name.as_str() {
        "default" => String::new(),
        name => format!(" --name {name}"),
    };
    let port = forward(&lab, cli, app)?;
    let published = format!("{port}:{}", app.guest_port);
    let mut command = vec!["launch", "run", "-d", "--name", app.name];
    if let Some(kind) = &cli.kind {
        command.extend(["--type", kind]);
    }
    command.extend(["-p", &published]);
    command.extend(app.flags);
    command.push(app.name);
    command.extend(app.arguments);
    // On an emulated processor a guest sometimes fails (README, "Test it").
    let mut tries = if matches!(accelerator()?, Accelerator::Emulation(_)) { 2 } else { 1 };
    loop {
        launch(&lab, &command, app).with_context(|| format!("see `ci/lab shell{name}`"))?;
        let Err(error) = app.wait_until_it_answers(port, PATIENCE) else { break };
        let log = lab.run(["launch", "logs", app.name], &[], PATIENCE)?;
        let text = String::from_utf8_lossy(&[log.stdout, log.stderr].concat()).into_owned();
        let error = error.context(text);
        tries -= 1;
        if tries == 0 {
            return Err(error);
        }
        say(&format!("{error:#}\ntrying again: on an emulated processor a guest sometimes fails"));
    }
    let xl_list = lab.run(["xl", "list"], &[], PATIENCE)?;
    eprintln!("\n{}", String::from_utf8_lossy(&xl_list.stdout));
    eprintln!("look inside with `ci/lab shell{name}`; stop it all with `ci/lab down{name}`\n");
    println!("{}", app.how_to_use.replace("PORT", &port.to_string()));
    Ok(ExitCode::SUCCESS)
}

/// Runs `command` in dom0, after removing the app that an earlier one started.
fn launch(lab: &Instance, command: &[&str], app: &App) -> Result<()> {
    in_dom0(lab, &["launch", "rm", "-f", app.name], &[]).ok();
    say(&format!("in dom0: {}", command.join(" ")));
    let argv = command.iter().map(|word| (*word).to_owned()).collect();
    let code = lab.start(Start { argv, ..Start::default() })?.follow(false)?;
    ensure!(code == 0, "launch failed in dom0 (exit code {code})");
    Ok(())
}

fn build() -> Result<()> {
    let status = Command::new(project_root().join("ci/build"))
        .stdout(Stdio::null())
        .status()
        .context("cannot start ci/build")?;
    ensure!(status.success(), "ci/build failed");
    Ok(())
}

fn in_dom0(lab: &Instance, argv: &[&str], input: &[u8]) -> Result<()> {
    let output = lab.run(argv.iter().copied(), input, PATIENCE)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.code == 0, "{} failed in dom0:\n{text}", argv.join(" "));
    Ok(())
}

/// Forwards the requested port, or the first free one from the app's own port on.
fn forward(lab: &Instance, cli: &Cli, app: &App) -> Result<u16> {
    if let Some(port) = cli.port {
        lab.forward("tcp", port, port)?;
        return Ok(port);
    }
    let mut error = None;
    for port in app.host_port..app.host_port.saturating_add(PORTS_TRIED) {
        match lab.forward("tcp", port, port) {
            Ok(()) => return Ok(port),
            Err(refused) => error = Some(refused),
        }
    }
    Err(error.context("there is no port to try")?)
}
