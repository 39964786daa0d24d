//! The monitor: one small process an app, from its start to its end.
//!
//! It keeps the log, learns how the app ends, and takes everything down. It listens to xenstore
//! for the guest's report and for domains that end, and to the console; nothing is polled. What
//! comes from the guest is bounded: the log by its two files, the report by the contract.

use crate::apps::{Apps, AppsError};
use crate::cgroup;
use crate::console::Console;
use crate::folder::{FileError, Folder, Lock};
use crate::hotplug::describe;
use crate::log::Log;
use crate::output::Output;
use crate::record::{Outcome, Phase, Record, State};
use crate::settings::Settings;
use crate::start_set;
use crate::talk;
use crate::timing::{moments, now_unix_us};
use crate::toolstack::{DomainState, ShutdownReason};
use contract::{Mark, Report, StartSet, store as nodes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use xen::DomId;
use xen::store::Store;

/// How long an app has the machine to itself before pools are filled again: its own first steps
/// follow now.
const QUIET_START: Duration = Duration::from_secs(1);
/// A guest may write its report as often as it likes; only so many make it into a file.
const MAX_STATE_WRITES: u32 = 16;
/// So many lines a monitor writes of what goes wrong.
const MAX_COMPLAINTS: u32 = 16;
/// More than can be left when an app has ended: xenconsoled holds 1 MiB back while we read slower than
/// the app writes. A guest that goes on writing after its report is not heard further.
const MOST_LEFT_BYTES: usize = 2 << 20;
/// The last output may take no longer than this, however slowly it comes.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// What a monitor is told by the launcher that starts it, as JSON in its one argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The app.
    pub id: String,
    /// Where images and apps are kept.
    pub state_dir: PathBuf,
    /// About domains.
    pub settings: Settings,
    /// About the network.
    pub network: net::Settings,
    /// The launcher, to fill pools with.
    pub launcher: PathBuf,
    /// How long it lets the app's start have dom0's processor before it does anything, in milliseconds.
    pub pause_ms: u64,
}

/// The body of the monitor, whose standard input is the app's lock file.
///
/// # Errors
/// The app cannot be watched; the next `launch` command starts a monitor anew.
pub fn run(start: &Start) -> Result<(), AppsError> {
    let apps = &Apps::open(&start.state_dir, &start.settings, &start.network)?;
    let folder = apps.folder(&start.id);
    let Some(lock) = take_lock(&folder)? else { return Ok(()) };
    // A terminal that goes away takes nothing of ours with it. Fails only where done before.
    let _ = rustix::process::setsid();
    let left = cgroup::leave();
    std::thread::sleep(Duration::from_millis(start.pause_ms));
    cgroup::hear_sigterm();
    let _ = std::env::set_current_dir("/");
    let record = folder.read_record()?;
    let mut state = folder.read_state()?;
    if state.phase == Phase::Restarting {
        return apps.restart_after_pause(&folder, &record, &mut state, &lock, &start.launcher);
    }
    let Some(domid) = state.domid.map(DomId) else {
        return Err(AppsError::NotRunning(record.name));
    };
    let mut monitor = Monitor {
        output: Output::new(Log::open(&folder, apps.settings().log_mib << 20)?),
        store: Store::connect_to_wait()?,
        apps,
        folder,
        record,
        state,
        domid,
        launcher: &start.launcher,
        marks: Vec::new(),
        state_writes: 0,
        found: false,
        refill: Refill::Unwanted,
        complaints: 0,
    };
    if let Err(error) = left {
        monitor.complain(&error);
    }
    let outcome = monitor.watch()?;
    monitor.fill_pools();
    monitor.end(outcome, &lock)
}

/// The lock that came with standard input, or else the free one; `None` where another monitor
/// has it.
fn take_lock(folder: &Folder) -> Result<Option<Lock>, AppsError> {
    let failed = FileError::io("examine", folder.path());
    let inherited = io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(failed)?;
    if folder.is_lock(&inherited) {
        return Ok(Some(Lock::inherit(inherited, folder)?));
    }
    Ok(folder.try_lock()?)
}

struct Monitor<'a> {
    apps: &'a Apps,
    folder: Folder,
    record: Record,
    state: State,
    domid: DomId,
    store: Store,
    output: Output,
    launcher: &'a Path,
    /// Those that the state has, as the guest told them.
    marks: Vec<Mark>,
    state_writes: u32,
    /// Whether the guest has told the start set of its image.
    found: bool,
    refill: Refill,
    complaints: u32,
}

/// When a domain that was taken out of a pool is replaced.
#[derive(Clone, Copy, Debug)]
enum Refill {
    /// The app has not started yet.
    Unwanted,
    At(Instant),
    Done,
}

impl Monitor<'_> {
    fn node(&self, name: &str) -> String {
        format!("/local/domain/{}/{name}", self.domid)
    }

    /// Until the app has ended.
    fn watch(&mut self) -> Result<Outcome, AppsError> {
        let report = self.node(nodes::REPORT);
        let tty = self.node("console/tty");
        let found = self.node(nodes::FOUND_START_SET);
        // A guest that was told a start set finds none out.
        let wanted = start_set::read(&self.folder).is_some_and(|known| known.is_empty());
        let watched =
            ["@releaseDomain", &report, &tty].into_iter().chain(wanted.then_some(&*found));
        for path in watched {
            self.store.watch(path, path)?;
        }
        loop {
            let mut changed = Vec::new();
            // A guest that writes without end must not keep us from reading its console.
            while changed.len() < 64 {
                match self.store.wait_event(Some(Duration::ZERO))? {
                    Some(event) => changed.push(event.token),
                    None => break,
                }
            }
            let has = |what: &str| changed.iter().any(|token| token == what);
            if !self.output.has_console() && has(&tty) {
                self.open_console()?;
            }
            if has(&found) {
                self.keep_start_set();
            }
            if has(&report) {
                let outcome = self.read_report()?;
                if !self.state.marks.is_empty() && matches!(self.refill, Refill::Unwanted) {
                    self.refill = Refill::At(Instant::now() + QUIET_START);
                }
                if let Some(outcome) = outcome {
                    return Ok(outcome);
                }
            }
            if has("@releaseDomain") {
                if let Some(outcome) = self.look_at_domain()? {
                    return Ok(outcome);
                }
            }
            let until_refill = match self.refill {
                Refill::At(at) => Some(at.saturating_duration_since(Instant::now())),
                Refill::Unwanted | Refill::Done => None,
            };
            if until_refill.is_some_and(|left| left.is_zero()) {
                self.fill_pools();
            } else if changed.is_empty() {
                self.sleep(until_refill)?;
            }
            // A full disk takes its log from an app, and nothing else.
            if let Err(error) = self.copy_output() {
                self.complain(&error);
            }
        }
    }

    /// Says in `monitor.log` what went wrong and is no reason to leave the app alone. A guest can bring
    /// some of it about again and again: not each is told.
    fn complain(&mut self, error: &dyn std::error::Error) {
        if self.complaints < MAX_COMPLAINTS {
            self.complaints += 1;
            eprintln!("{}", describe(error));
        }
    }

    /// Has the place of a domain that was taken filled again, once.
    fn fill_pools(&mut self) {
        if matches!(std::mem::replace(&mut self.refill, Refill::Done), Refill::Done) {
            return;
        }
        if self.apps.has_pools() {
            let mut fill = Command::new(self.launcher);
            // Not our own standard input: that is the app's lock, which must not outlive us.
            match fill.arg0("launch").arg("__pool").stdin(Stdio::null()).spawn() {
                // Whoever starts a process is to learn of its end.
                Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
                Err(error) => self.complain(&error),
            }
        }
    }

    /// Keeps what the guest found out about its image. Nothing depends on it.
    fn keep_start_set(&mut self) {
        let read = |path: &str| self.store.read_untrusted(&self.node(path));
        let Ok(Some(head)) = read(nodes::FOUND_START_SET) else { return };
        // A guest that writes it again and again is not listened to.
        if std::mem::replace(&mut self.found, true) {
            return;
        }
        let read = |path: &str| self.store.read_untrusted(&self.node(path));
        let kept: Result<(), Box<dyn std::error::Error>> =
            match nodes::join(nodes::FOUND_START_SET, &head, nodes::MAX_START_SET_CHUNKS, read) {
                Ok(json) => match StartSet::parse(&json) {
                    Ok(set) => start_set::keep(&self.folder, &set).map_err(Box::from),
                    Err(error) => Err(Box::from(error)),
                },
                Err(error) => Err(Box::from(error)),
            };
        if let Err(error) = kept {
            self.complain(&*error);
        }
    }

    fn open_console(&mut self) -> Result<(), AppsError> {
        if let Some(path) = self.store.read_optional(&self.node("console/tty"))? {
            match Console::open(&path) {
                Ok(console) => self.output.set_console(console),
                // The domain may have gone in this moment; the app matters more than its log.
                Err(error) => self.complain(&error),
            }
        }
        Ok(())
    }

    fn read_report(&mut self) -> Result<Option<Outcome>, AppsError> {
        let Some(json) = self.store.read_untrusted(&self.node(nodes::REPORT))? else {
            return Ok(None);
        };
        let read_unix_us = now_unix_us();
        let report = match Report::parse(&json) {
            Ok(report) => report,
            Err(error) => {
                self.complain(&error);
                return Ok(None);
            }
        };
        if self.marks != report.marks && self.state_writes < MAX_STATE_WRITES {
            self.state_writes += 1;
            self.state.marks = moments(&report, read_unix_us);
            self.marks = report.marks;
            if let Err(error) = self.folder.write_state_lightly(&self.state) {
                self.complain(&error);
            }
        }
        Ok(report.exit.map(|exit| Outcome {
            code: exit.code(),
            message: match exit {
                contract::Exit::NotStarted { message, .. } => Some(message),
                _ => None,
            },
        }))
    }

    /// Some domain has ended: this one?
    fn look_at_domain(&mut self) -> Result<Option<Outcome>, AppsError> {
        let state = self.apps.domains().state(self.domid, self.record.uuid)?;
        if state == DomainState::Alive || state == DomainState::ShutDown(ShutdownReason::Suspend) {
            return Ok(None);
        }
        // The report was written before, if there is one.
        if let Some(outcome) = self.read_report()? {
            return Ok(Some(outcome));
        }
        Ok(Some(unreported(state)))
    }

    /// Until there is something to read, or `timeout`.
    fn sleep(&self, timeout: Option<Duration>) -> Result<(), AppsError> {
        let timeout = [timeout, self.output.pause()].into_iter().flatten().min();
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap_or_default());
        let mut fds = vec![PollFd::new(&self.store, PollFlags::IN)];
        let output = self.output.files();
        fds.extend(output.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(FileError::io("watch", self.folder.path())(errno.into()).into()),
        }
    }

    /// Takes what the app has written into the log. Where it is too much for the console, asks for it
    /// over a vchan.
    fn copy_output(&mut self) -> Result<(), AppsError> {
        self.output.copy(self.folder.path())?;
        if self.output.wants_vchan() {
            match talk::output(&self.record.name, self.domid) {
                Ok(Some(session)) => self.output.set_vchan(session),
                // It takes a moment after its start to have one; then we ask again.
                Ok(None) => {}
                Err(error) => tracing::debug!("{}", describe(&error)),
            }
        }
        Ok(())
    }

    /// Reads to the end of output: until there has been none for a while.
    fn drain(&mut self) -> Result<(), AppsError> {
        let deadline = Instant::now() + LONGEST_DRAIN;
        let (mut quiet_since, mut bytes) = (Instant::now(), 0);
        while self.output.is_open() && bytes < MOST_LEFT_BYTES && Instant::now() < deadline {
            let count = self.output.copy(self.folder.path())?;
            if count > 0 {
                (quiet_since, bytes) = (Instant::now(), bytes + count);
                continue;
            }
            let left = self.output.quiet().saturating_sub(quiet_since.elapsed());
            if left.is_zero() {
                break;
            }
            // xenstore's events are of no interest any more, but must not keep us awake.
            while self.store.wait_event(Some(Duration::ZERO))?.is_some() {}
            self.sleep(Some(left))?;
        }
        Ok(self.output.finish()?)
    }

    fn end(&mut self, outcome: Outcome, lock: &Lock) -> Result<(), AppsError> {
        // A log that cannot be finished must not keep the domain from being taken down.
        let drained = self.drain();
        let (folder, record, state) = (&self.folder, &self.record, &mut self.state);
        if self.apps.wants_restart(folder, state, &outcome) {
            self.apps.finish_to_restart(folder, record, state, outcome, lock)?;
            let restarted =
                self.apps.restart_after_pause(folder, record, state, lock, self.launcher);
            return restarted.and(drained);
        }
        let finished = self.apps.finish(&self.folder, &self.record, &mut self.state, outcome, lock);
        finished.and(drained)
    }
}

/// What to say of a domain that ended without a report.
pub(crate) fn unreported(state: DomainState) -> Outcome {
    let (code, message) = match state {
        // As Docker has it for an app that was killed.
        DomainState::Alive | DomainState::Gone => (137, "the domain was destroyed"),
        DomainState::ShutDown(ShutdownReason::Crash) => {
            (125, "the guest kernel crashed; see the log, and try --verbose-kernel")
        }
        DomainState::ShutDown(ShutdownReason::Watchdog) => (125, "the guest's watchdog ran out"),
        DomainState::ShutDown(ShutdownReason::Reboot) => {
            (125, "the guest started over without a report: its kernel died of a fault in a fault")
        }
        DomainState::ShutDown(_) => (125, "the guest shut down without a report"),
    };
    Outcome { code, message: Some(message.into()) }
}
