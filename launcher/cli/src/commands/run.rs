//! `launch run`: start an image as a new domain.

use super::spec::Spec;
use crate::here::{self, Here, print};
use crate::times::{self, Times};
use anyhow::{Context, Result};
use domain::{App, Apps, Followed, Launch, Outcome, Timings};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Exit code of a shell's command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// What to start, and how to stay with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the app running in the background and print its id
    #[arg(short, long)]
    detach: bool,
    /// Remove the app and its writable layer when it ends
    #[arg(long)]
    rm: bool,
    /// Print to stderr when each step of the start began and how long it took, up to the app
    #[arg(long)]
    time: bool,
    #[command(flatten)]
    spec: Spec,
}

pub(crate) fn run(args: Args, begin: Instant) -> Result<ExitCode> {
    let mut times = Times::since(begin);
    times.first("arguments");
    let (here, apps) = times.step("settings and state", || -> Result<_> {
        here::require_dom0()?;
        let here = Here::new()?;
        let apps = here.apps_as_they_are()?;
        Ok((here, apps))
    })?;
    let image = times.step("image", || here.image(&args.spec.image))?;
    let mut launch = args.spec.into_launch(image)?;
    launch.remove_on_exit = args.rm;

    // From here on a signal must not end this process: what it makes would be left half-made.
    let signals = catch_signals()?;
    let (app, timings) = launch_repaired(&apps, &launch)?;
    times.add(&timings);
    if args.time {
        times::print(&times.render());
    }
    // Last, because it takes the longer the more apps there are, and no start waits for it.
    here::tell(&apps.reconcile_at_times()?);
    if args.detach && signals.load(Ordering::Relaxed) > 0 {
        apps.remove(&app, true)?;
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
        foreground(&apps, &app, &signals)
    })
}

/// Launches; what a killed process left behind may be in the way, and is put right then.
fn launch_repaired(apps: &Apps, launch: &Launch) -> Result<(App, Timings)> {
    let error = match apps.launch(launch) {
        Ok(launched) => return Ok(launched),
        Err(error) => error,
    };
    let repairs = apps.reconcile()?;
    here::tell(&repairs);
    match repairs.is_empty() {
        true => Err(error.into()),
        false => Ok(apps.launch(launch)?),
    }
}

/// Notes that SIGINT, SIGTERM or SIGHUP came, and nothing more; each sets the value to 1.
fn catch_signals() -> Result<Arc<AtomicUsize>> {
    let signals = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(&signals), 1)
            .with_context(|| format!("cannot handle signal {signal}"))?;
    }
    Ok(signals)
}

/// Shows the app's output until it ends; the first signal stops it gracefully, the next at once.
fn foreground(apps: &Apps, app: &App, signals: &AtomicUsize) -> Result<ExitCode> {
    let mut follow = apps.follow(app, true)?;
    let mut out = std::io::stdout().lock();
    let outcome = std::thread::scope(|scope| -> Result<Outcome> {
        let mut asked = false;
        loop {
            if !asked && signals.swap(0, Ordering::Relaxed) > 0 {
                asked = true;
                scope.spawn(|| apps.stop(app, None));
            } else if asked && signals.swap(0, Ordering::Relaxed) > 0 {
                scope.spawn(|| apps.kill(app));
            }
            match follow.next(Duration::from_secs(1))? {
                Followed::Output(bytes) => {
                    out.write_all(&bytes)
                        .and_then(|()| out.flush())
                        .context("cannot write to stdout")?;
                }
                Followed::Nothing => {}
                Followed::Ended(outcome) => return Ok(outcome),
            }
        }
    })?;
    if let Some(message) = &outcome.message {
        eprintln!("launch: {message}");
    }
    Ok(ExitCode::from(outcome.code))
}

/// The guest's own steps, once it has told them.
fn print_guest(apps: &Apps, app: &App, times: &Times) {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        // An app that is gone already (--rm) has nothing more to tell.
        let Ok(now) = apps.find(&app.record.id) else { return };
        if !now.state.marks.is_empty() {
            times::print(&times.render_guest(&now.state.marks));
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
