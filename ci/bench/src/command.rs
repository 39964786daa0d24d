//! The common part of the benchmarks' command lines, and the dom0 that they name.

use crate::dom0::Dom0;
use crate::machine::facts;
use crate::page::render_emulated;
use crate::report::{Figures, Report};
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
use std::sync::atomic::{AtomicBool, Ordering};

/// The flags that choose where a benchmark runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Where {
    /// Run on this dom0 instead of in a lab
    #[arg(long)]
    pub(crate) here: bool,
    /// Use the last build instead of building
    #[arg(long)]
    no_build: bool,
    /// Xen of the lab: 4.20 (Debian 13) or 4.17 (Debian 12)
    #[arg(long, default_value_t, env = "LAB_XEN")]
    xen: XenVersion,
    /// The source of time in a lab whose processor is emulated [default: the command's own]
    #[arg(long, value_enum, conflicts_with = "here")]
    clock: Option<Clock>,
    /// The xenstored in the lab: the one in C answers a single launch faster
    #[arg(long, value_enum, default_value_t = Xenstored::C, env = "LAB_XENSTORED")]
    xenstored: Xenstored,
    /// Name of the lab [default: the command's own]
    #[arg(long, env = "LAB_NAME")]
    name: Option<String>,
}

/// The lab of a benchmark.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The lab's name by default; the user may give another name and clock.
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    /// Additional software in its dom0.
    pub(crate) extra: Option<Extra>,
    /// Its size, if the benchmark depends on it.
    pub(crate) size: Option<Size>,
    /// Whether it keeps running if the benchmark started it.
    pub(crate) is_kept: bool,
}

impl Where {
    /// Runs `work` in dom0: on this machine, or in a lab with the current build installed.
    pub(crate) fn run<T>(
        &self,
        wanted: &Wanted,
        work: impl FnOnce(&Dom0) -> Result<T>,
    ) -> Result<T> {
        if self.here {
            ensure!(Path::new("/dev/xen/privcmd").exists(), "--here: this is not a Xen dom0");
            ensure!(rustix::process::geteuid().is_root(), "--here needs root");
            return work(&Dom0::Here);
        }
        if !self.no_build {
            let mut build = Command::new(project_root().join("ci/build"));
            let status = build.stdout(Stdio::null()).status().context("cannot start ci/build")?;
            ensure!(status.success(), "ci/build failed");
        }
        let port = registry::start()?;
        let clock = self.clock.unwrap_or(wanted.clock);
        let name = self.name.clone().unwrap_or_else(|| match clock {
            Clock::Wall => wanted.name.into(),
            Clock::Instructions => format!("{}-{}", wanted.name, clock.name()),
        });
        let is_new = Instance::find(&name)?.is_none();
        let size = wanted.size.unwrap_or_default();
        let lab = Instance::up(&Options {
            name: name.clone(),
            xen: self.xen,
            extra: wanted.extra,
            size,
            clock: Some(clock),
            xenstored: Some(self.xenstored),
            share: None,
        })?;
        if wanted.size.is_some() && lab.size() != size {
            bail!("the lab {name} runs with another size; `ci/lab down --name {name}` first");
        }
        ensure!(lab.install_stage(&default_stage())?, "nothing is built; run ci/build");
        let dom0 = Dom0::Lab(lab, format!("10.0.2.2:{port}"));
        let settings = registry::mirror_settings(port);
        dom0.write("/etc/launch/config.toml", 0o644, settings.as_bytes())?;
        let result = work(&dom0);
        let ended = match &dom0 {
            Dom0::Lab(lab, _) if is_new && !wanted.is_kept => lab.down(),
            _ => Ok(()),
        };
        let done = result?;
        ended?;
        Ok(done)
    }

    /// Reports the figures measured in `dom0`; `clock` is the benchmark's own.
    pub(crate) fn report<F: Figures>(
        &self,
        dom0: &Dom0,
        clock: Clock,
        figures: F,
    ) -> Result<Report<F>> {
        let machine = facts(dom0)?;
        // QEMU's emulation uses this name.
        let is_qemu = |name: &String| name.starts_with("QEMU Virtual CPU");
        let reason = match (self.here, accelerator()?) {
            (false, Accelerator::Emulation(reason)) => Some(reason),
            (true, _) if machine.get("processor").is_some_and(is_qemu) => {
                Some("the processor is QEMU's".into())
            }
            _ => None,
        };
        let is_counted = !self.here && self.clock.unwrap_or(clock) == Clock::Instructions;
        let emulated = reason.map(|reason| render_emulated(&reason, is_counted)).transpose()?;
        // From this machine, because a lab's clock may run more slowly.
        let date = run_quietly(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?;
        let date = String::from_utf8_lossy(&date).trim().to_owned();
        let words: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("ci/{} {}", F::NAME, words.join(" ")).trim_end().to_owned();
        Ok(Report { emulated, version: F::VERSION, date, command, machine, figures })
    }
}

/// Whether SIGINT, SIGTERM or SIGHUP has come: the benchmark then ends what it started.
#[derive(Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Starts to watch for these signals.
    pub(crate) fn on_signal() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop))
                .context("cannot watch for signals")?;
        }
        Ok(Self(stop))
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails if one has come.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.has_come(), "stopped by a signal");
        Ok(())
    }
}
