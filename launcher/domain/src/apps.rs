//! Apps: created, found, listed; started and ended in the files below.

mod ask;
mod change;
mod end;
mod error;
mod network;
mod start;
mod waiting;

pub use ask::Condition;
pub use change::{Change, Changed};
pub use error::AppsError;
pub use waiting::Waiting;

use crate::WritableChoice;
use crate::domains::Domains;
use crate::folder::{self, FileError, Folder, Lock};
use crate::follow::Follow;
use crate::launch::{Launch, MachineWish};
use crate::log::Part;
use crate::names::Names;
use crate::native::Native;
use crate::reconcile::Repair;
use crate::record::{Phase, Record, State};
use crate::resolve::{self, Identity};
use crate::settings::Settings;
use crate::spec::{Kind, Uuid};
use crate::start_set;
use crate::timing::{Timings, timed};
use crate::toolstack::{DomainState, Toolstack, ToolstackKind};
use crate::writable;
use crate::xl::Xl;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use xen::DomId;

/// Bytes of an id; twice as many hex digits, as Docker shows.
const ID_BYTES: usize = 6;

/// All that is ever in the state folder.
const STATE: [&str; 8] =
    ["domains", "images", "leases", "names", "network.lock", "pool", "ports", "templates"];

/// All apps of this machine.
#[derive(Debug)]
pub struct Apps {
    state_dir: PathBuf,
    settings: Settings,
    network: net::Network,
    network_settings: net::Settings,
    domains: Arc<Domains>,
    native: Native,
    xl: Xl,
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
    /// The domain that waited for it, from its creation to its start.
    #[serde(skip)]
    waiting: Option<Waiting>,
}

impl App {
    /// Gives it the lock that whoever starts it must have.
    pub(crate) fn hold(&mut self, lock: Lock) {
        self.lock = Some(lock);
    }

    /// Takes the lock from it.
    pub(crate) fn release(&mut self) -> Option<Lock> {
        self.lock.take()
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
        let domains = Arc::new(Domains::default());
        let apps = Self {
            state_dir: state_dir.to_owned(),
            settings: settings.clone(),
            network: net::Network::open(network, state_dir),
            network_settings: network.clone(),
            native: Native::new(settings),
            xl: Xl::new(settings, Arc::clone(&domains)),
            domains,
        };
        make_state_folder(state_dir)?;
        for folder in [apps.folders(), apps.names().0] {
            files::make_private(&folder).map_err(FileError::io("make", &folder))?;
        }
        Ok(apps)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What builds and destroys domains of this app.
    pub(crate) fn toolstack(&self, record: &Record) -> &dyn Toolstack {
        match record.machine.toolstack {
            ToolstackKind::Native => &self.native,
            ToolstackKind::Xl => &self.xl,
        }
    }

    /// The toolstack of a new app.
    fn choose_toolstack(&self, wish: &MachineWish) -> ToolstackKind {
        let wish = wish.toolstack.or(self.settings.toolstack);
        wish.unwrap_or_else(|| match self.domains.known() {
            Ok(false) => ToolstackKind::Xl,
            // Without Xen there will be an error when the app starts.
            Ok(true) | Err(_) => ToolstackKind::Native,
        })
    }

    /// The kind of a new app's domain.
    pub(crate) fn choose_kind(&self, wish: &MachineWish) -> Kind {
        wish.kind.or(self.settings.kind).unwrap_or_else(|| self.domains.usual_kind())
    }

    /// Xen's answers about domains.
    pub(crate) fn domains(&self) -> &Domains {
        &self.domains
    }

    pub(crate) fn shared_domains(&self) -> Arc<Domains> {
        Arc::clone(&self.domains)
    }

    /// Where the state folders of all apps are.
    pub(crate) fn folders(&self) -> PathBuf {
        self.state_dir.join("domains")
    }

    pub(crate) fn names(&self) -> Names {
        Names(self.state_dir.join("names"))
    }

    pub(crate) fn folder(&self, id: &str) -> Folder {
        Folder::new(self.folders().join(id))
    }

    /// Waits for the lock under which names are given and folders made and removed.
    pub(crate) fn common_lock(&self) -> Result<File, FileError> {
        let path = self.folders().join(".lock");
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
        self.make(launch, false, &mut Timings::new())
    }

    /// Makes an app and starts it. Its domain, if there is not one that waits, boots while the rest
    /// is made.
    ///
    /// # Errors
    /// As [`Apps::create`] and [`Apps::start`]; nothing is left then.
    pub fn launch(&self, launch: &Launch) -> Result<(App, Timings), AppsError> {
        let mut timings = Timings::new();
        let mut app = self.make(launch, true, &mut timings)?;
        match self.start_timed(&mut app, &mut timings, launch.detached) {
            Ok(()) => Ok((app, timings)),
            // A launch that failed leaves nothing; Docker would keep an app that never ran.
            Err(error) => Err(error.and(self.remove(&app, true))),
        }
    }

    fn make(
        &self,
        launch: &Launch,
        to_start: bool,
        timings: &mut Timings,
    ) -> Result<App, AppsError> {
        let _span = tracing::info_span!("create").entered();
        let named = Some((&launch.image.config, launch.image_name.as_str()));
        let toolstack = self.choose_toolstack(&launch.machine);
        let kind = self.choose_kind(&launch.machine);
        let machine = resolve::machine(&launch.machine, named, &self.settings, (toolstack, kind))?;
        if to_start {
            self.domains.check()?;
        }
        let waiting =
            |waiting: &Waiting| to_start && waiting.fits(&machine, launch, &self.settings);
        let (folder, lock, mut waiting) = timed(timings, "folder", || self.reserve(waiting))?;
        let id = folder.id().to_owned();
        let mut name = None;
        let made = || -> Result<(Record, State), AppsError> {
            let name = name.insert(self.take_name(launch, &id)?).clone();
            if to_start {
                self.domains.check_name(&name)?;
            }
            let identity =
                Identity { uuid: uuid_of(&id), id: id.clone(), name, created_unix_ms: now_ms() };
            let record = resolve::resolve(launch, machine, identity, &self.settings)?;
            if to_start && waiting.is_none() && toolstack == ToolstackKind::Native {
                waiting = Some(timed(timings, "domain", || self.boot(&record))?);
            }
            let state =
                timed(timings, "disks", || self.fill(&folder, launch, &record, waiting.as_ref()))?;
            Ok((record, state))
        };
        match made() {
            Ok((record, state)) => Ok(App { record, state, lock: Some(lock), waiting }),
            Err(error) => {
                let released = name.map_or(Ok(()), |name| self.names().release(&id, &name));
                let error = error.and(released).and(self.destroy_waiting(waiting.as_ref(), &id));
                Err(error.and(folder.remove().map_err(AppsError::from)))
            }
        }
    }

    /// A folder for a new app: that of a domain which waits and fits, or else an empty one.
    fn reserve(
        &self,
        fits: impl Fn(&Waiting) -> bool,
    ) -> Result<(Folder, Lock, Option<Waiting>), AppsError> {
        // To others a folder looks as if its maker had died, until there is a record in it.
        let _common = self.common_lock()?;
        if let Some((folder, lock, waiting)) = self.take_waiting(fits)? {
            return Ok((folder, lock, Some(waiting)));
        }
        let folder = self.folder(&new_id()?);
        let lock = folder.make()?;
        Ok((folder, lock, None))
    }

    fn take_name(&self, launch: &Launch, id: &str) -> Result<String, AppsError> {
        let base = if launch.image_name.is_empty() { "app" } else { &launch.image_name };
        let exists = |holder: &str| self.folder(holder).path().exists();
        let _common = self.common_lock()?;
        self.names().take(id, launch.name.as_deref(), base, exists)
    }

    fn fill(
        &self,
        folder: &Folder,
        launch: &Launch,
        record: &Record,
        waiting: Option<&Waiting>,
    ) -> Result<State, AppsError> {
        // Until there is a record, nobody else knows that this app has the image.
        let _held = launch.image.hold()?;
        if waiting.is_none_or(|waiting| waiting.image.is_none()) {
            link_disk(&launch.image.disk, &folder.file(folder::ROOT_DISK))?;
            start_set::link(&launch.image.disk, folder)?;
        }
        let has_layer = waiting.is_some_and(|waiting| waiting.furnished);
        if record.writable == WritableChoice::Disk && !has_layer {
            self.make_writable(folder, record.storage_mib)?;
        }
        let log = folder.file(folder::LOG);
        let made = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
        made.map_err(FileError::io("make", &log))?;
        // With a domain there is something to take down if this process is killed now.
        let state = match waiting {
            Some(waiting) => {
                State { phase: Phase::Starting, domid: Some(waiting.domid), ..State::default() }
            }
            None => State::default(),
        };
        folder.write_state_lightly(&state)?;
        // Last: a folder with a record is complete.
        folder.write_record(record)?;
        Ok(state)
    }

    fn make_writable(&self, folder: &Folder, size_mib: u64) -> Result<(), AppsError> {
        let path = folder.file(folder::WRITABLE_DISK);
        Ok(writable::make(&self.state_dir.join("templates"), &path, size_mib)?)
    }

    /// Writes the writable layer of an app again that a power cut took right after it was made.
    fn mend_writable(&self, folder: &Folder, record: &Record) -> Result<(), AppsError> {
        let path = folder.file(folder::WRITABLE_DISK);
        if writable::mend(&self.state_dir.join("templates"), &path, record.storage_mib)? {
            tracing::warn!("the writable layer of app {} was empty; made it anew", record.name);
        }
        Ok(())
    }

    /// The app with this name or id, or the only one whose name or id begins so.
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
        let mut fitting: Vec<String> = self.ids()?;
        fitting.retain(|id| id.starts_with(name));
        fitting.extend(self.names().beginning(name)?.into_iter().map(|(_, id)| id));
        fitting.sort();
        fitting.dedup();
        match fitting.as_slice() {
            [] => Err(unknown()),
            [id] => self.read(id)?.ok_or_else(unknown),
            several => {
                let named = several.iter().filter_map(|id| self.read(id).ok()?);
                let mut named: Vec<String> = named.map(|app| app.record.name).take(5).collect();
                named.sort();
                Err(AppsError::Ambiguous(name.to_owned(), named.join(", ")))
            }
        }
    }

    /// Whether a stopped app has its image's disk for itself, so that the image may go: not where
    /// apps and images are on two file systems.
    #[must_use]
    pub fn can_spare_image(&self, app: &App) -> bool {
        let disk = self.folder(&app.record.id).file(folder::ROOT_DISK);
        matches!(app.state.phase, Phase::Created | Phase::Exited) && !disk.is_symlink()
    }

    /// Whether an app has this image, but for those that `may_lose_it`. Where nobody can tell, one has.
    pub fn have_image(&self, digest: &image::Digest, may_lose_it: impl Fn(&App) -> bool) -> bool {
        let digest = digest.to_string();
        let has = |app: &App| app.record.image_digest == digest && !may_lose_it(app);
        self.list().map_or(true, |all| all.iter().any(has))
    }

    /// All apps, the newest first.
    ///
    /// # Errors
    /// The state folder cannot be read.
    pub fn list(&self) -> Result<Vec<App>, AppsError> {
        let mut apps = Vec::new();
        for id in self.ids()? {
            match self.read(&id) {
                // Repairs name it; the others are to be seen none the less.
                Err(AppsError::File(error)) if error.is_damaged() => {}
                read => apps.extend(read?),
            }
        }
        apps.sort_by_key(|app| std::cmp::Reverse(app.record.created_unix_ms));
        Ok(apps)
    }

    /// An app; `None` where it is not complete, or not any more.
    pub(crate) fn read(&self, id: &str) -> Result<Option<App>, AppsError> {
        let folder = self.folder(id);
        let read = folder.read_record().and_then(|record| {
            Ok(App { record, state: folder.read_state()?, lock: None, waiting: None })
        });
        match read {
            Ok(app) => Ok(Some(app)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The ids of all state folders, complete or not.
    pub(crate) fn ids(&self) -> Result<Vec<String>, AppsError> {
        ids_in(&self.folders())
    }

    /// The app's output, and what is still to come of it.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub fn follow(&self, app: &App, part: Part) -> Result<Follow<'_>, AppsError> {
        Follow::new(self, app, part)
    }

    /// Puts right what killed processes left behind; cheap where there is nothing.
    ///
    /// # Errors
    /// The state folder cannot be read. What cannot be repaired is a [`Repair`] that says so.
    pub fn reconcile(&self) -> Result<Vec<Repair>, AppsError> {
        crate::reconcile::all(self)
    }

    /// The same, unless it was done in the last few seconds.
    ///
    /// # Errors
    /// As [`Apps::reconcile`].
    pub fn reconcile_at_times(&self) -> Result<Vec<Repair>, AppsError> {
        crate::reconcile::at_times(self)
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
            Some(domid) => Ok(self.domains.state(DomId(domid), record.uuid)?),
            None => Ok(DomainState::Gone),
        }
    }
}

/// Makes the folder that holds all state, for root only. One that an older version left open is closed.
///
/// # Errors
/// The file system refuses.
pub fn make_state_folder(path: &Path) -> Result<(), FileError> {
    files::make_private_with(path, &STATE).map_err(FileError::io("make", path))
}

/// The ids of the state folders in `path`.
fn ids_in(path: &Path) -> Result<Vec<String>, AppsError> {
    let failed = || FileError::io("read", path);
    let mut ids = Vec::new();
    for entry in fs::read_dir(path).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name().into_string();
        ids.extend(name.ok().filter(|name| {
            name.len() == 2 * ID_BYTES && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        }));
    }
    Ok(ids)
}

/// A new app's id.
fn new_id() -> Result<String, AppsError> {
    Ok(random::<ID_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The handle of the domain of the app `id`.
pub(crate) fn uuid_of(id: &str) -> Uuid {
    let mut bytes = [0; ID_BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        let digits = id.get(at..at + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    Uuid::of_app(bytes)
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

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "apps_tests.rs"]
mod tests;
