//! Starting an app: its network, its orders, its domain, its monitor.

use super::{App, Apps, AppsError, now_ms, random};
use crate::WritableChoice;
use crate::cgroup::Spared;
use crate::folder::{self, Folder, Lock};
use crate::monitor;
use crate::record::{Network, Phase, Record, State};
use crate::resolve::{self, Link};
use crate::timing::{Timings, timed};
use crate::xlcfg;
use std::fs::OpenOptions;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use xen::DomId;

/// How much later a monitor begins where nobody waits for the app's output; what the app writes and how it
/// ends is kept for it meanwhile.
const MONITOR_LATER: Duration = Duration::from_millis(100);

impl Apps {
    /// Starts an app that does not run; returns when its domain runs and its monitor is there.
    ///
    /// # Errors
    /// It runs already, or its network or domain cannot be made; all of it is undone then.
    pub fn start(&self, app: &mut App) -> Result<Timings, AppsError> {
        self.domains().check()?;
        self.domains().check_name(&app.record.name)?;
        let mut timings = Timings::new();
        if app.lock.is_none() {
            let folder = self.folder(&app.record.id);
            folder.unmark(folder::STOPPED)?;
            folder.unmark(folder::ENDS_WITH_HOST)?;
        }
        (app.state.restarts, app.state.pause_ms) = (0, 0);
        self.start_timed(app, &mut timings, false)?;
        Ok(timings)
    }

    /// Starts an app that waited for it, by whoever is in charge of it.
    pub(crate) fn start_again(&self, app: &mut App) -> Result<(), AppsError> {
        self.start_timed(app, &mut Timings::new(), false)
    }

    /// Starts an app; nobody waits for what a `detached` one writes.
    pub(super) fn start_timed(
        &self,
        app: &mut App,
        timings: &mut Timings,
        detached: bool,
    ) -> Result<(), AppsError> {
        let _span = tracing::info_span!("start", app = app.record.name).entered();
        let folder = self.folder(&app.record.id);
        let lock = match app.lock.take() {
            Some(lock) => lock,
            None => {
                folder.take_lock()?.ok_or_else(|| AppsError::Running(app.record.name.clone()))?
            }
        };
        if app.waiting.is_none() && self.domains().find(app.record.uuid)?.is_some() {
            // Started by hand from its config.
            app.lock = Some(lock);
            return Err(AppsError::Running(app.record.name.clone()));
        }
        lock.clear()?;
        let before = folder.read_state()?;
        if app.waiting.is_none() && before.phase != Phase::Created {
            folder.mark(folder::TOUCHED)?;
        }
        // What was noted at its creation, if a domain waited for it, is right.
        if app.waiting.is_none() {
            app.state = State {
                phase: Phase::Starting,
                restarts: app.state.restarts,
                pause_ms: app.state.pause_ms,
                ..State::default()
            };
            folder.write_state_lightly(&app.state)?;
        }
        let pause = if detached { MONITOR_LATER } else { Duration::ZERO };
        let built = self.build(&folder, app, &lock, timings);
        let started = built.and_then(|()| {
            timed(timings, "monitor", || self.start_monitor(&app.record, &folder, &lock, pause))
        });
        match started {
            Ok(()) if app.record.remove_on_exit => Ok(folder.unmark(folder::KEPT)?),
            Ok(()) => Ok(()),
            Err(error) => {
                let error = error.and(self.take_down(&app.record, app.state.domid.map(DomId)));
                app.state = before;
                // Whoever removes it now still is in charge of it.
                app.lock = Some(lock);
                Err(error.and(folder.write_state(&app.state).map_err(AppsError::from)))
            }
        }
    }

    fn build(
        &self,
        folder: &Folder,
        app: &mut App,
        lock: &Lock,
        timings: &mut Timings,
    ) -> Result<(), AppsError> {
        let record = &app.record;
        if app.waiting.is_none() && record.writable == WritableChoice::Disk {
            self.mend_writable(folder, record)?;
        }
        let link = timed(timings, "network", || self.connect(record))?;
        app.state.address = link.as_ref().map(|link| link.lease.address);
        timed(timings, "orders", || self.write_orders(folder, record, link.as_ref()))?;
        let spec = resolve::domain_spec(record, folder.path(), link.as_ref());
        let shared = lock.share()?;
        let domid = match app.waiting.take() {
            Some(waiting) => timed(timings, "devices", || self.adopt(&waiting, spec, folder))?,
            None => timed(timings, "domain", || {
                self.toolstack(record).create(&spec, folder.path(), shared)
            })?,
        };
        app.state.domid = Some(domid.0);
        if !record.schedule.is_default() {
            let domain = self.domains().of_app(domid, record.uuid)?;
            let domain = domain.ok_or_else(|| AppsError::NotRunning(record.name.clone()))?;
            self.domains().set_schedule(domain, record.schedule)?;
        }
        app.state.phase = Phase::Running;
        app.state.started_unix_ms = Some(now_ms());
        Ok(folder.write_state_lightly(&app.state)?)
    }

    /// Gives the app its network, as far as dom0 is concerned.
    fn connect(&self, record: &Record) -> Result<Option<Link>, AppsError> {
        Ok(match &record.network {
            Network::Launch { ip } => {
                let link = self.link(&record.id, *ip, record.mac)?;
                let address = link.lease.address;
                self.with_network(|network| network.publish(&record.id, address, &record.publish))
                    .map_err(|error| self.name_owner(error))?;
                Some(link)
            }
            Network::Bridge { bridge, ip, gateway } => {
                if bridge.as_str() == self.network.bridge() {
                    return Err(net::NetworkRequestError::Own(bridge.clone()).into());
                }
                net::check_bridge(bridge)?;
                let mut lease = net::static_lease(bridge, &record.id, ip.as_deref(), *gateway)?;
                lease.mac = record.mac.unwrap_or(lease.mac);
                Some(Link { bridge: bridge.as_str().to_owned(), gateway_mac: None, lease })
            }
            Network::None => None,
        })
    }

    /// An address on our own bridge, which is there then.
    pub(super) fn link(
        &self,
        id: &str,
        ip: Option<IpAddr>,
        mac: Option<contract::Mac>,
    ) -> Result<Link, AppsError> {
        self.with_network(net::Network::ensure_up)?;
        let lease = self.with_network(|network| network.lease(id, ip, mac))?;
        Ok(Link {
            bridge: self.network.bridge().to_owned(),
            gateway_mac: Some(self.network.gateway_mac()),
            lease,
        })
    }

    /// `net` knows apps by their ids; people know them by name.
    fn name_owner(&self, mut error: AppsError) -> AppsError {
        if let AppsError::Network(net::NetworkError::PortOfApp { owner, .. }) = &mut error {
            if let Ok(record) = self.folder(owner).read_record() {
                *owner = format!("app {}", record.name);
            }
        }
        error
    }

    fn write_orders(
        &self,
        folder: &Folder,
        record: &Record,
        link: Option<&Link>,
    ) -> Result<(), AppsError> {
        let seed = random::<32>()?;
        let orders = resolve::render_orders(record, link, &self.network.resolver(), &seed);
        resolve::check_orders_size(&orders)?;
        Ok(folder.write_lightly(folder::ORDERS, orders.render().as_bytes())?)
    }

    /// The xl config of an app that does not run, ready for `xl create`; also in its folder as
    /// `domain.cfg`. The app keeps the address that it is given here until it is removed.
    ///
    /// # Errors
    /// It runs; the network refuses; or a template cannot be rendered.
    pub fn config(&self, app: &App) -> Result<String, AppsError> {
        if app.state.phase != Phase::Created {
            return Err(AppsError::Running(app.record.name.clone()));
        }
        let folder = self.folder(&app.record.id);
        let link = self.connect(&app.record)?;
        let address = link.as_ref().map(|link| link.lease.address);
        folder.write_state(&State { address, ..app.state.clone() })?;
        self.write_orders(&folder, &app.record, link.as_ref())?;
        let spec = resolve::domain_spec(&app.record, folder.path(), link.as_ref());
        let config = xlcfg::render(&spec, &self.settings)?;
        folder.write_lightly(folder::CONFIG, config.as_bytes())?;
        Ok(config)
    }

    /// Starts the process that stays with the app, and shares the lock with it; it begins after `pause`.
    pub(crate) fn start_monitor(
        &self,
        record: &Record,
        folder: &Folder,
        lock: &Lock,
        pause: Duration,
    ) -> Result<(), AppsError> {
        let share = lock.share()?;
        let start = || -> io::Result<()> {
            let words = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(folder.file(folder::MONITOR_LOG))?;
            let start = monitor::Start {
                id: record.id.clone(),
                state_dir: self.state_dir.clone(),
                settings: self.settings.clone(),
                network: self.network_settings.clone(),
                launcher: std::env::current_exe()?,
                pause_ms: u64::try_from(pause.as_millis()).unwrap_or_default(),
            };
            let _spared = Spared::new();
            Command::new(&self.settings.monitor)
                .arg0("launch-monitor")
                .arg(serde_json::to_string(&start)?)
                .stdin(Stdio::from(share))
                .stdout(Stdio::null())
                .stderr(Stdio::from(words))
                .spawn()
                .map(drop)
        };
        start().map_err(|source| AppsError::Monitor { name: record.name.clone(), source })
    }
}
