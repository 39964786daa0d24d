//! `launch run`: start an image as a new domain.

use super::docker_flags::DockerFlags;
use super::foreground::{show, stay};
use super::id_file::IdFile;
use super::spec::Spec;
use crate::conversation::DetachKeys;
use crate::failure;
use crate::here::{self, Here, Pull};
use crate::output::{print, say};
use crate::terminal::Screen;
use crate::times::{self, Times};
use anyhow::{Context, Result, bail};
use app::{App, Apps, LogFilter, RestartPolicy, RunRequest, Timings, life};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Exit code that a shell gives a command ended by SIGINT.
const INTERRUPTED: u8 = 130;

/// Docker's exit code of a run that failed before the app existed.
const NOT_STARTED: u8 = 125;

/// The app to start, and how to stay with it.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Leave the app running in the background and print its id
    #[arg(short, long)]
    detach: bool,
    /// Keys that end this command and leave the app running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Print to stderr when each step of the start began and how long it took, until the app runs
    #[arg(long)]
    time: bool,
    #[command(flatten)]
    create: CreateFlags,
}

/// The app to create.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateFlags {
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
    /// Give the app this command's input
    #[arg(short, long)]
    interactive: bool,
    /// Give the app a terminal; this command's input must be one too
    #[arg(short, long)]
    tty: bool,
    /// Remove the app and its writable layer when it ends
    #[arg(long)]
    rm: bool,
    /// When to start the app again after it ended: no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no", hide_default_value = true)]
    restart: RestartPolicy,
    /// When to fetch the image: always, only if it is missing, or never
    #[arg(long, value_name = "always|missing|never", default_value = "missing")]
    pull: Pull,
    /// Show no progress of the fetch
    #[arg(short, long)]
    quiet: bool,
    /// Write the app's id to a file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    #[command(flatten)]
    spec: Spec,
    #[command(flatten)]
    docker: DockerFlags,
}

/// Fetches the image if necessary. Returns the request, and the file for the app's id.
pub(super) fn prepare(flags: CreateFlags, here: &Here) -> Result<(RunRequest, Option<IdFile>)> {
    flags.docker.answer()?;
    if flags.rm && flags.restart != RestartPolicy::No {
        bail!("conflicting options: cannot specify both --restart and --rm");
    }
    let id_file = flags.cidfile.map(IdFile::create).transpose()?;
    let image = here.image_by(flags.spec.image(), flags.pull, flags.quiet)?;
    let mut launch = flags.spec.into_launch(image, &here.settings.network)?;
    launch.remove_on_exit = flags.rm;
    launch.restart = flags.restart;
    launch.stdin = flags.interactive;
    launch.terminal = flags.tty;
    for cut in app::cut_requests(&launch, &here.settings.domain) {
        say(cut);
    }
    Ok((launch, id_file))
}

/// Fails with Docker's code 125 if no app was created.
pub(crate) fn run(args: Args, begin: Instant) -> Result<ExitCode> {
    let mut launched = false;
    match start(args, begin, &mut launched) {
        Err(error) if !launched => {
            failure::report(&error);
            Ok(ExitCode::from(NOT_STARTED))
        }
        ended => ended,
    }
}

fn start(args: Args, begin: Instant, launched: &mut bool) -> Result<ExitCode> {
    let CreateFlags { interactive, tty, .. } = args.create;
    let attached = !args.detach && (interactive || tty);
    let screen = (tty && !args.detach).then(|| Screen::require(interactive)).transpose()?;
    let mut times = Times::since(begin);
    times.first("arguments");
    let (here, apps) = times.step("settings and state", || -> Result<_> {
        here::require_dom0()?;
        let here = Here::new()?;
        let apps = here.apps_as_they_are()?;
        Ok((here, apps))
    })?;
    let (mut launch, id_file) = times.step("image", || prepare(args.create, &here))?;
    launch.detached = args.detach;

    // From here on a signal must not end this process, which would leave an incomplete app.
    let signals = catch_signals()?;
    let (app, timings) = launch_repaired(&apps, &launch)?;
    *launched = true;
    times.add(&timings);
    if let Some(id_file) = id_file {
        id_file.fill(&app.record.id)?;
    }
    if args.time {
        times::print(&times.render());
    }
    // Last, because it takes longer with more apps, and the start must not wait for it.
    here::tell(&life::repair_at_times(&apps)?);
    if args.detach && signals.load(Ordering::Relaxed) > 0 {
        life::remove(&apps, &app, true)?;
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if args.detach {
        print(&format!("{}\n", app.record.id))?;
        if args.time {
            print_guest(&apps, &app, &times);
        }
        return Ok(ExitCode::SUCCESS);
    }
    std::thread::scope(|scope| {
        if args.time {
            scope.spawn(|| print_guest(&apps, &app, &times));
        }
        match attached {
            true => stay(&apps, &app, interactive, screen, &args.detach_keys, LogFilter::default()),
            false => show(&apps, &app, &signals),
        }
    })
}

/// Launches the app. If that fails, repairs what killed processes left behind and tries once more.
fn launch_repaired(apps: &Apps, launch: &RunRequest) -> Result<(App, Timings)> {
    let error = match life::launch(apps, launch) {
        Ok(launched) => return Ok(launched),
        Err(error) => error,
    };
    let repairs = life::repair(apps)?;
    here::tell(&repairs);
    match repairs.is_empty() {
        true => Err(error.into()),
        false => Ok(life::launch(apps, launch)?),
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP only set the returned value to 1.
fn catch_signals() -> Result<Arc<AtomicUsize>> {
    let signals = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(&signals), 1)
            .with_context(|| format!("cannot handle signal {signal}"))?;
    }
    Ok(signals)
}

/// Prints the guest's own steps once it has reported them.
fn print_guest(apps: &Apps, app: &App, times: &Times) {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        // An app that is already removed (--rm) reports no more steps.
        let Ok(now) = apps.find(&app.record.id) else { return };
        if !now.state.marks().is_empty() {
            times::print(&times.render_guest(now.state.marks()));
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
