//! What the comparisons' command lines have in common, and the dom0 that they name.

use super::place::Place;
use anyhow::{Context, Result, bail, ensure};
use lab::accelerator::Accelerator;
use lab::clock::Clock;
use lab::dom0::Extra;
use lab::host::{project_root, run_quietly};
use lab::instance::{Instance, Options, accelerator};
use lab::qemu::Size;
use lab::registry;
use lab::stage::default_stage;
use lab::xen_version::XenVersion;
use lab::xenstored::Xenstored;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Where a comparison runs.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// On this dom0 instead of in a lab
    #[arg(long)]
    pub here: bool,
    /// Take the last build and build nothing
    #[arg(long)]
    pub no_build: bool,
    /// Xen of the lab: 4.20 (Debian 13) or 4.17 (Debian 12)
    #[arg(long, default_value_t, env = "LAB_XEN")]
    pub xen: XenVersion,
    /// What time is measured by in a lab whose processor is emulated [default: the command's own]
    #[arg(long, value_enum, conflicts_with = "here")]
    pub clock: Option<Clock>,
    /// What serves xenstore in the lab: C answers a single launch sooner
    #[arg(long, value_enum, default_value_t = Xenstored::C, env = "LAB_XENSTORED")]
    pub xenstored: Xenstored,
    /// Name of the lab [default: the command's own]
    #[arg(long, env = "LAB_NAME")]
    pub name: Option<String>,
}

/// A lab for a comparison.
#[derive(Debug)]
pub struct Wanted {
    /// Its name, unless the user gives one.
    pub name: &'static str,
    /// What its dom0 has besides.
    pub extra: Option<Extra>,
    /// Its size, where that counts.
    pub size: Option<Size>,
    /// What its clock goes by.
    pub clock: Clock,
}

/// A dom0 that is ready.
#[derive(Debug)]
pub struct Ready {
    /// dom0.
    pub place: Place,
    /// The registry that it pulls from, where that is not Docker Hub.
    pub registry: Option<String>,
    /// Name of the lab, where it was brought up for this.
    pub brought_up: Option<String>,
}

impl Where {
    /// The clock that the user wants, or the command's own.
    #[must_use]
    pub fn clock(&self, default: Clock) -> Clock {
        self.clock.unwrap_or(default)
    }

    /// Finds dom0: this machine, or a lab with the current build installed.
    ///
    /// # Errors
    /// When this machine is none, the build fails, the lab cannot be brought up or has another size.
    pub fn open(&self, wanted: &Wanted) -> Result<Ready> {
        if self.here {
            ensure!(Path::new("/dev/xen/privcmd").exists(), "--here: this is not a Xen dom0");
            ensure!(rustix::process::geteuid().is_root(), "--here needs root");
            return Ok(Ready { place: Place::Here, registry: None, brought_up: None });
        }
        if !self.no_build {
            let mut build = Command::new(project_root().join("ci/build"));
            let status = build.stdout(Stdio::null()).status().context("cannot start ci/build")?;
            ensure!(status.success(), "ci/build failed");
        }
        let port = registry::start()?;
        let clock = wanted.clock;
        let name = self.name.clone().unwrap_or_else(|| match clock {
            Clock::Wall => wanted.name.into(),
            Clock::Instructions => format!("{}-{}", wanted.name, clock.name()),
        });
        let is_new = Instance::find(&name)?.is_none();
        let size = wanted.size.unwrap_or_default();
        let (extra, xen) = (wanted.extra, self.xen);
        let lab = Instance::up(&Options {
            name: name.clone(),
            xen,
            extra,
            size,
            clock: Some(clock),
            xenstored: Some(self.xenstored),
            share: None,
        })?;
        if wanted.size.is_some() && lab.size() != size {
            bail!("the lab {name} runs with another size; `ci/lab down --name {name}` first");
        }
        ensure!(lab.install_stage(&default_stage())?, "there is no build; run ci/build");
        let place = Place::Lab(lab);
        let settings = registry::mirror_settings(port);
        place.write("/etc/launch/config.toml", 0o644, settings.as_bytes())?;
        let registry = Some(format!("10.0.2.2:{port}"));
        Ok(Ready { place, registry, brought_up: is_new.then_some(name) })
    }

    /// What to say first where no hardware runs Xen; `default` is the command's own clock,
    /// `processor` dom0's.
    ///
    /// # Errors
    /// When there is no place for a cache.
    pub fn emulated(&self, default: Clock, processor: Option<&String>) -> Result<Option<String>> {
        let reason = match (self.here, accelerator()?) {
            (false, Accelerator::Emulation(reason)) => reason,
            // So QEMU's emulation calls itself.
            (true, _) if processor.is_some_and(|name| name.starts_with("QEMU Virtual CPU")) => {
                "the processor is QEMU's".into()
            }
            _ => return Ok(None),
        };
        if (self.clock(default), self.here) == (Clock::Instructions, false) {
            return Ok(Some(format!(
                "Xen ran in QEMU without hardware virtualization ({reason}), with a clock that counts \
                 instructions: each takes a nanosecond, and waiting the time that it takes. So the \
                 figures hardly depend on the machine and on what else it does, but no time here is a \
                 real machine's. What takes hardware more than an instruction (a VM exit, a \
                 page-table change, a cold cache) is not in them, which favours domains; nor is what two \
                 processors do at once, which does not: a guest boots while dom0 still makes its devices."
            )));
        }
        Ok(Some(format!(
            "Xen ran in QEMU without hardware virtualization ({reason}). Every instruction takes many \
             times as long as on hardware, a VM exit and a page-table change more than others: no time \
             here is a real machine's, and ratios are distorted against those that exit often."
        )))
    }
}

/// Ends a lab that was brought up for a comparison.
///
/// # Errors
/// When QEMU does not end.
pub fn end(brought_up: Option<&String>) -> Result<()> {
    match brought_up.map(|name| Instance::find(name)).transpose()?.flatten() {
        Some(lab) => lab.down(),
        None => Ok(()),
    }
}

/// The date in UTC, by this machine: a lab's own clock may go more slowly.
///
/// # Errors
/// When there is no `date`.
pub fn date() -> Result<String> {
    let text = run_quietly(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// The command line as a user types it.
#[must_use]
pub fn command_line(program: &str) -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    [program.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// Set when SIGINT, SIGTERM or SIGHUP has come: what runs is then taken down.
///
/// # Errors
/// When signals cannot be asked for.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot ask for signals")?;
    }
    Ok(stop)
}
