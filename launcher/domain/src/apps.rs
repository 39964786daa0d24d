//! Apps: created, found, listed; started and ended in the files below.

use crate::domain_state::DomainState;
use crate::domains::Domains;
use crate::error::AppsError;
use crate::folder::{self, Folder};
use crate::ids::ids_in;
use crate::launch::MachineWish;
use crate::lock::Lock;
use crate::names::Names;
use crate::native::Native;
use crate::record::{Phase, Record, State};
use crate::settings::Settings;
use crate::spec::{Kind, ToolstackKind};
use crate::toolstack::Toolstack;
use crate::waiting::Waiting;
use crate::xl::Xl;
use files::FileError;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xen::DomId;

/// All that is ever in the state folder.
const STATE: [&str; 8] =
    ["domains", "images", "leases", "names", "network.lock", "pool", "ports", "templates"];

/// All apps of this machine.
#[derive(Debug)]
pub struct Apps {
    pub(crate) state_dir: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) network: net::Network,
    pub(crate) network_settings: net::Settings,
    pub(crate) domains: Arc<Domains>,
    pub(crate) native: Native,
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
    pub(crate) lock: Option<Lock>,
    /// The domain that waited for it, from its creation to its start.
    #[serde(skip)]
    pub(crate) waiting: Option<Waiting>,
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
    pub(crate) fn choose_toolstack(&self, wish: &MachineWish) -> ToolstackKind {
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
        Ok(ids_in(&self.folders())?)
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

#[cfg(test)]
#[path = "apps_tests.rs"]
mod tests;
