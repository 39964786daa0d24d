//! Apps: created, started, asked about, stopped and removed.

use crate::folder::{self, FileError, Folder, Lock};
use crate::follow::{EndWatch, Follow};
use crate::launch::Launch;
use crate::names::Names;
use crate::reconcile::Repair;
use crate::record::{Network, Outcome, Phase, Record, State};
use crate::resolve::{self, Identity, Link, ResolveError};
use crate::settings::Settings;
use crate::spec::Uuid;
use crate::toolstack::{DomainState, Toolstack, ToolstackError};
use crate::writable::{self, WritableError};
use crate::xl::Xl;
use crate::{WritableChoice, xlcfg};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use xen::DomId;

/// Bytes of an id; twice as many hex digits, as Docker shows.
const ID_BYTES: usize = 6;
/// What a guest gets on top of its app's stop time: to unmount, report and power off.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long a monitor may take to tidy up after its domain was destroyed.
const TIDY_TIME: Duration = Duration::from_secs(60);

/// All apps of this machine.
pub struct Apps {
    state_dir: PathBuf,
    settings: Settings,
    network: net::Network,
    toolstack: Box<dyn Toolstack>,
}

impl std::fmt::Debug for Apps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let toolstack = self.toolstack.name();
        f.debug_struct("Apps")
            .field("state_dir", &self.state_dir)
            .field("toolstack", &toolstack)
            .finish()
    }
}

/// One app: its record, and its state at the time it was read.
#[derive(Debug, Serialize)]
pub struct App {
    /// What it is.
    #[serde(flatten)]
    pub record: Record,
    /// What has become of it.
    pub state: State,
    /// Held from its creation to its start, so that nobody takes it for left behind.
    #[serde(skip)]
    lock: Option<Lock>,
}

/// How long each step of a start took.
pub type Timings = Vec<(&'static str, Duration)>;

/// Why something could not be done with an app.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// No app has this name or id.
    #[error("no app is named {0:?} and no id begins with it; see `launch ps -a`")]
    Unknown(String),
    /// Several ids begin so.
    #[error("several ids begin with {0:?}; give more of it")]
    Ambiguous(String),
    /// A name that cannot be given.
    #[error("name {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another app has the name.
    #[error(
        "the name {0:?} is taken by another app; choose another with --name, or remove that app with `launch rm`"
    )]
    NameTaken(String),
    /// It runs, or someone else is just starting or removing it.
    #[error("app {0} runs; stop it first, or use force")]
    Running(String),
    /// It does not run.
    #[error("app {0} does not run")]
    NotRunning(String),
    /// It would not end.
    #[error(
        "app {0} was asked to end and its domain destroyed, but its monitor is not done; see `xl list`"
    )]
    Stuck(String),
    /// The launch makes no sense.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// State files.
    #[error(transparent)]
    File(#[from] FileError),
    /// The writable layer.
    #[error(transparent)]
    Writable(#[from] WritableError),
    /// The toolstack.
    #[error(transparent)]
    Toolstack(#[from] ToolstackError),
    /// The network.
    #[error(transparent)]
    Network(#[from] net::NetworkError),
    /// An admin's bridge.
    #[error(transparent)]
    Bridge(#[from] net::ChoiceError),
    /// Xenstore.
    #[error(transparent)]
    Store(#[from] xen::store::StoreError),
    /// The xl config.
    #[error(transparent)]
    Config(#[from] xlcfg::ConfigError),
    /// The monitor could not be started.
    #[error("cannot start the monitor of app {name}")]
    Monitor {
        /// The app.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// Something failed, and so did undoing it.
    #[error("{}; and then: {}", crate::hotplug::describe(.0.as_ref()), crate::hotplug::describe(.1.as_ref()))]
    Both(Box<AppsError>, Box<AppsError>),
}

impl AppsError {
    fn and(self, undo: Result<(), Self>) -> Self {
        match undo {
            Ok(()) => self,
            Err(second) => Self::Both(Box::new(self), Box::new(second)),
        }
    }
}

impl Apps {
    /// The apps kept under `state_dir` (`/var/lib/launch`).
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(
        state_dir: &Path,
        settings: &Settings,
        network: &net::Settings,
    ) -> Result<Self, AppsError> {
        let toolstack = Box::new(Xl::new(settings));
        Self::with_toolstack(state_dir, settings, network, toolstack)
    }

    /// The same with another toolstack.
    ///
    /// # Errors
    /// As [`Apps::open`].
    pub fn with_toolstack(
        state_dir: &Path,
        settings: &Settings,
        network: &net::Settings,
        toolstack: Box<dyn Toolstack>,
    ) -> Result<Self, AppsError> {
        let apps = Self {
            state_dir: state_dir.to_owned(),
            settings: settings.clone(),
            network: net::Network::open(network, state_dir),
            toolstack,
        };
        for folder in [apps.domains(), apps.names().0] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(FileError::io("make", &folder))?;
        }
        Ok(apps)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn toolstack(&self) -> &dyn Toolstack {
        self.toolstack.as_ref()
    }

    pub(crate) fn network(&self) -> &net::Network {
        &self.network
    }

    pub(crate) fn domains(&self) -> PathBuf {
        self.state_dir.join("domains")
    }

    pub(crate) fn names(&self) -> Names {
        Names(self.state_dir.join("names"))
    }

    pub(crate) fn folder(&self, id: &str) -> Folder {
        Folder::new(self.domains().join(id))
    }

    /// Waits for the lock under which names are given and folders made and removed.
    pub(crate) fn common_lock(&self) -> Result<File, FileError> {
        let path = self.domains().join(".lock");
        let lock = || -> io::Result<File> {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        lock().map_err(FileError::io("lock", &path))
    }

    /// Makes an app, which does not run yet.
    ///
    /// # Errors
    /// The name is taken, the launch makes no sense, or the disk is full; nothing is left then.
    pub fn create(&self, launch: &Launch) -> Result<App, AppsError> {
        let _span = tracing::info_span!("create").entered();
        let id = hex(&random::<ID_BYTES>()?);
        let folder = self.folder(&id);
        let common = self.common_lock()?;
        let lock = folder.make()?;
        let exists = |holder: &str| self.folder(holder).path().exists();
        let base = if launch.image_name.is_empty() { "app" } else { &launch.image_name };
        let name = self.names().take(&id, launch.name.as_deref(), base, exists);
        drop(common);
        let made = name.and_then(|name| {
            let identity = Identity {
                id: id.clone(),
                name: name.clone(),
                uuid: random_uuid()?,
                created_unix_ms: now_ms(),
            };
            let made = self.fill(&folder, launch, identity);
            made.map_err(|error| error.and(self.names().release(&id, &name)))
        });
        match made {
            Ok(record) => Ok(App { record, state: State::default(), lock: Some(lock) }),
            Err(error) => Err(error.and(folder.remove().map_err(AppsError::from))),
        }
    }

    fn fill(
        &self,
        folder: &Folder,
        launch: &Launch,
        identity: Identity,
    ) -> Result<Record, AppsError> {
        let record = resolve::resolve(launch, identity, &self.settings)?;
        link_disk(&launch.image.disk, &folder.file(folder::ROOT_DISK))?;
        if record.writable == WritableChoice::Disk {
            let path = folder.file(folder::WRITABLE_DISK);
            writable::make(&self.state_dir.join("templates"), &path, record.storage_mib)?;
        }
        let log = folder.file(folder::LOG);
        let made = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
        made.map_err(FileError::io("make", &log))?;
        folder.write_state(&State::default())?;
        // Last: a folder with a record is complete.
        folder.write_record(&record)?;
        Ok(record)
    }

    /// Starts an app that does not run; returns when its domain runs and its monitor is there.
    ///
    /// # Errors
    /// It runs already, or its network or domain cannot be made; all of it is undone then.
    pub fn start(&self, app: &mut App) -> Result<Timings, AppsError> {
        let _span = tracing::info_span!("start", app = app.record.name).entered();
        self.toolstack.check()?;
        let folder = self.folder(&app.record.id);
        let lock = match app.lock.take() {
            Some(lock) => lock,
            None => {
                folder.take_lock()?.ok_or_else(|| AppsError::Running(app.record.name.clone()))?
            }
        };
        lock.clear()?;
        let before = folder.read_state()?;
        let mut timings = Timings::new();
        app.state = State { phase: Phase::Starting, ..State::default() };
        folder.write_state_lightly(&app.state)?;
        let built = self.build(&folder, app, &mut timings);
        let started = built.and_then(|()| {
            timed(&mut timings, "monitor", || self.start_monitor(&app.record, &folder, lock))
        });
        match started {
            Ok(()) => Ok(timings),
            Err(error) => {
                let error = error.and(self.take_down(&app.record, app.state.domid.map(DomId)));
                app.state = before;
                Err(error.and(folder.write_state(&app.state).map_err(AppsError::from)))
            }
        }
    }

    fn build(
        &self,
        folder: &Folder,
        app: &mut App,
        timings: &mut Timings,
    ) -> Result<(), AppsError> {
        let record = &app.record;
        let link = timed(timings, "network", || self.connect(record))?;
        app.state.address = link.as_ref().and_then(|link| Some(link.lease.as_ref()?.address));
        timed(timings, "orders", || self.write_orders(folder, record, link.as_ref()))?;
        let spec = resolve::domain_spec(record, folder.path(), link.as_ref());
        let domid = timed(timings, "domain", || self.toolstack.create(&spec, folder.path()))?;
        app.state.domid = Some(domid.0);
        app.state.phase = Phase::Running;
        app.state.started_unix_ms = Some(now_ms());
        Ok(folder.write_state_lightly(&app.state)?)
    }

    /// Gives the app its network, as far as dom0 is concerned.
    fn connect(&self, record: &Record) -> Result<Option<Link>, AppsError> {
        Ok(match &record.network {
            Network::Launch { ip } => {
                self.network.ensure_up()?;
                let lease = self.network.lease(&record.id, *ip)?;
                self.network.publish(&record.id, lease.address, &record.publish)?;
                Some(Link {
                    bridge: self.network.bridge().to_owned(),
                    mac: lease.mac,
                    gateway_mac: Some(self.network.gateway_mac()),
                    lease: Some(lease),
                })
            }
            Network::Bridge { bridge, ip, gateway } => {
                net::check_bridge(bridge)?;
                let lease = net::static_lease(bridge, &record.id, ip.as_deref(), *gateway)?;
                let bridge = bridge.as_str().to_owned();
                Some(Link { bridge, mac: lease.mac, gateway_mac: None, lease: Some(lease) })
            }
            Network::None => None,
        })
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
        let address = link.as_ref().and_then(|link| Some(link.lease.as_ref()?.address));
        folder.write_state(&State { address, ..app.state.clone() })?;
        self.write_orders(&folder, &app.record, link.as_ref())?;
        let spec = resolve::domain_spec(&app.record, folder.path(), link.as_ref());
        let config = xlcfg::render(&spec, &self.settings)?;
        folder.write_lightly(folder::CONFIG, config.as_bytes())?;
        Ok(config)
    }

    /// Starts the process that stays with the app, and hands it the lock.
    pub(crate) fn start_monitor(
        &self,
        record: &Record,
        folder: &Folder,
        lock: Lock,
    ) -> Result<(), AppsError> {
        let start = || -> io::Result<()> {
            let words = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(folder.file(folder::MONITOR_LOG))?;
            Command::new("/proc/self/exe")
                .arg0("launch")
                .args(["__monitor", &record.id])
                .stdin(Stdio::from(lock.into_file()))
                .stdout(Stdio::null())
                .stderr(Stdio::from(words))
                .spawn()
                .map(drop)
        };
        start().map_err(|source| AppsError::Monitor { name: record.name.clone(), source })
    }

    /// The app with this name, or whose id begins so.
    ///
    /// # Errors
    /// None has, or several have.
    pub fn find(&self, name: &str) -> Result<App, AppsError> {
        let unknown = || AppsError::Unknown(name.chars().take(80).collect());
        if let Some(id) = self.names().find(name)? {
            return self.read(&id)?.ok_or_else(unknown);
        }
        if name.is_empty() {
            return Err(unknown());
        }
        let mut ids = self.ids()?.into_iter().filter(|id| id.starts_with(name));
        match (ids.next(), ids.next()) {
            (Some(id), None) => self.read(&id)?.ok_or_else(unknown),
            (Some(_), Some(_)) => Err(AppsError::Ambiguous(name.to_owned())),
            _ => Err(unknown()),
        }
    }

    /// All apps, the newest first.
    ///
    /// # Errors
    /// The state folder cannot be read.
    pub fn list(&self) -> Result<Vec<App>, AppsError> {
        let mut apps = Vec::new();
        for id in self.ids()? {
            apps.extend(self.read(&id)?);
        }
        apps.sort_by_key(|app| std::cmp::Reverse(app.record.created_unix_ms));
        Ok(apps)
    }

    /// An app; `None` where it is not complete, or not any more.
    pub(crate) fn read(&self, id: &str) -> Result<Option<App>, AppsError> {
        let folder = self.folder(id);
        let read = folder
            .read_record()
            .and_then(|record| Ok(App { record, state: folder.read_state()?, lock: None }));
        match read {
            Ok(app) => Ok(Some(app)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The ids of all state folders, complete or not.
    pub(crate) fn ids(&self) -> Result<Vec<String>, AppsError> {
        let path = self.domains();
        let failed = || FileError::io("read", &path);
        let mut ids = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name().into_string();
            ids.extend(name.ok().filter(|name| {
                name.len() == 2 * ID_BYTES && name.bytes().all(|byte| byte.is_ascii_hexdigit())
            }));
        }
        Ok(ids)
    }

    /// Asks the app to end, and ends it by force after `timeout` (its own stop time where absent).
    ///
    /// # Errors
    /// Xen refuses. An app that does not run is no error.
    pub fn stop(&self, app: &App, timeout: Option<Duration>) -> Result<Outcome, AppsError> {
        let end = EndWatch::new(&self.folder(&app.record.id))?;
        if let Some((domid, _)) = self.domain(app)? {
            self.toolstack.shutdown(domid)?;
            let own = Duration::from_millis(app.record.process.stop_timeout_ms);
            let deadline = Instant::now() + timeout.unwrap_or(own + STOP_GRACE);
            if !end.wait(Some(deadline))? {
                return self.kill(app);
            }
        }
        self.outcome(app, &end)
    }

    /// Ends the app at once.
    ///
    /// # Errors
    /// Xen refuses. An app that does not run is no error.
    pub fn kill(&self, app: &App) -> Result<Outcome, AppsError> {
        let end = EndWatch::new(&self.folder(&app.record.id))?;
        if let Some((domid, uuid)) = self.domain(app)? {
            self.toolstack.destroy(domid, uuid)?;
            if !end.wait(Some(Instant::now() + TIDY_TIME))? {
                return Err(AppsError::Stuck(app.record.name.clone()));
            }
        }
        self.outcome(app, &end)
    }

    /// Waits until the app has ended and everything of it is taken down.
    ///
    /// # Errors
    /// Its state cannot be read.
    pub fn wait(&self, app: &App) -> Result<Outcome, AppsError> {
        let end = EndWatch::new(&self.folder(&app.record.id))?;
        end.wait(None)?;
        self.outcome(app, &end)
    }

    /// The app's domain as it is now, not as it was when `app` was read.
    fn domain(&self, app: &App) -> Result<Option<(DomId, Uuid)>, AppsError> {
        let Some(now) = self.read(&app.record.id)? else { return Ok(None) };
        if now.state.phase != Phase::Running {
            return Ok(None);
        }
        Ok(now.state.domid.map(|domid| (DomId(domid), app.record.uuid)))
    }

    fn outcome(&self, app: &App, end: &EndWatch) -> Result<Outcome, AppsError> {
        if let Some(outcome) = end.lock.outcome()? {
            return Ok(outcome);
        }
        let state = self.read(&app.record.id)?.map(|app| app.state);
        let outcome = state.and_then(|state| state.outcome);
        Ok(outcome.unwrap_or(Outcome { code: 0, message: None }))
    }

    /// Removes an app and its writable layer; a running one only with `force`.
    ///
    /// # Errors
    /// It runs, or its folder cannot be removed.
    pub fn remove(&self, app: &App, force: bool) -> Result<(), AppsError> {
        let folder = self.folder(&app.record.id);
        let lock = match folder.take_lock() {
            Ok(Some(lock)) => Some(lock),
            // Its own creator gives up on it.
            Ok(None) if app.lock.is_some() => None,
            Ok(None) if force => {
                self.kill(app)?;
                match folder.take_lock() {
                    Ok(Some(lock)) => Some(lock),
                    Ok(None) => return Err(AppsError::Running(app.record.name.clone())),
                    Err(error) if error.is_not_found() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(None) => return Err(AppsError::Running(app.record.name.clone())),
            // Its monitor was faster.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // A domain of it that nobody watches: started by hand from its config.
        let by_hand = self.toolstack.check().is_ok().then(|| self.toolstack.find(app.record.uuid));
        let by_hand = by_hand.transpose()?.flatten();
        if by_hand.is_some() && !force {
            return Err(AppsError::Running(app.record.name.clone()));
        }
        self.take_down(&app.record, by_hand)?;
        self.forget(&app.record, &folder)?;
        drop(lock);
        Ok(())
    }

    /// Removes folder and name of an app; the caller has its lock.
    pub(crate) fn forget(&self, record: &Record, folder: &Folder) -> Result<(), AppsError> {
        let _common = self.common_lock()?;
        self.names().release(&record.id, &record.name)?;
        Ok(folder.remove()?)
    }

    /// Takes down what a start has made: domain, disks, ports, address. Goes on after an error;
    /// doing it twice is no error.
    pub(crate) fn take_down(&self, record: &Record, domid: Option<DomId>) -> Result<(), AppsError> {
        let _span = tracing::info_span!("take down", app = record.name).entered();
        let mut done: Result<(), AppsError> = Ok(());
        let mut step = |result: Result<(), AppsError>| {
            done = match (std::mem::replace(&mut done, Ok(())), result) {
                (Ok(()), result) => result,
                (Err(first), result) => Err(first.and(result)),
            };
        };
        if let Some(domid) = domid {
            step(self.toolstack.destroy(domid, record.uuid).map_err(AppsError::from));
        }
        step(self.network.unpublish(&record.id).map_err(AppsError::from));
        step(self.network.release(&record.id).map_err(AppsError::from));
        done
    }

    /// The end of an app, by whoever is in charge of it: takes it down, notes how it ended, and
    /// removes it where that was asked for.
    pub(crate) fn finish(
        &self,
        folder: &Folder,
        record: &Record,
        state: &mut State,
        mut outcome: Outcome,
        lock: &Lock,
    ) -> Result<(), AppsError> {
        let down = self.take_down(record, state.domid.map(DomId));
        if let Err(error) = &down {
            let error = crate::hotplug::describe(error);
            outcome.message = Some(match outcome.message {
                Some(message) => format!("{message}; and then: {error}"),
                None => error,
            });
        }
        *state = State {
            phase: Phase::Exited,
            domid: None,
            address: None,
            finished_unix_ms: Some(now_ms()),
            outcome: Some(outcome.clone()),
            started_unix_ms: state.started_unix_ms,
            marks: std::mem::take(&mut state.marks),
        };
        let noted = folder.write_state(state).map_err(AppsError::from);
        let left = lock.leave(&outcome).map_err(AppsError::from);
        // With its domain still there it stays, for the next command to see.
        let gone = match record.remove_on_exit && down.is_ok() {
            true => self.forget(record, folder),
            false => Ok(()),
        };
        down.and(noted).and(left).and(gone)
    }

    /// The app's output from its first byte on, or only what is still to come.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn follow(&self, app: &App, from_start: bool) -> Result<Follow<'_>, AppsError> {
        Follow::new(self, app, from_start)
    }

    /// Puts right what killed processes left behind; cheap where there is nothing.
    ///
    /// # Errors
    /// The state folder cannot be read. What cannot be repaired is a [`Repair`] that says so.
    pub fn reconcile(&self) -> Result<Vec<Repair>, AppsError> {
        crate::reconcile::all(self)
    }

    /// The same for one app.
    pub(crate) fn repair(&self, id: &str) -> Result<Option<Repair>, AppsError> {
        crate::reconcile::app(self, id)
    }

    /// Whether the domain noted in `state` is still there.
    pub(crate) fn domain_state(
        &self,
        record: &Record,
        state: &State,
    ) -> Result<DomainState, AppsError> {
        match state.domid {
            Some(domid) => Ok(self.toolstack.state(DomId(domid), record.uuid)?),
            None => Ok(DomainState::Gone),
        }
    }
}

fn timed<T, E: Into<AppsError>>(
    timings: &mut Timings,
    step: &'static str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, AppsError> {
    let _span = tracing::info_span!("step", step).entered();
    let begin = Instant::now();
    let result = work().map_err(Into::into);
    timings.push((step, begin.elapsed()));
    result
}

/// A hard link keeps the disk when its image is removed; across file systems only the other kind
/// is possible.
fn link_disk(disk: &Path, link: &Path) -> Result<(), AppsError> {
    let linked = fs::hard_link(disk, link).or_else(|error| match error.raw_os_error() {
        Some(libc::EXDEV) => std::os::unix::fs::symlink(disk, link),
        _ => Err(error),
    });
    Ok(linked.map_err(FileError::io("link", disk))?)
}

fn random<const N: usize>() -> Result<[u8; N], AppsError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(FileError::io("read", path))?;
    Ok(bytes)
}

/// RFC 4122's kind of random UUID.
fn random_uuid() -> Result<Uuid, AppsError> {
    let mut bytes = random::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Uuid(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
