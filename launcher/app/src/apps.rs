//! Opens, finds and lists the apps of this machine. Nothing here changes an app.

use crate::error::AppsError;
use crate::record::app::Record;
use crate::record::state::State;
use crate::request::run_request::ShapeRequest;
use crate::settings::Settings;
use crate::store::folder::{self, Folder};
use crate::store::ids::ids_in;
use crate::store::locked::Locked;
use crate::store::names::Names;
use files::FileError;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toolstack::{Dom0, Kind, Toolstack, ToolstackKind};

/// The only names that the state folder ever holds.
const STATE: [&str; 8] =
    ["domains", "images", "leases", "names", "network.lock", "pool", "ports", "templates"];

/// All apps of this machine.
#[derive(Debug)]
pub struct Apps {
    pub(crate) state_dir: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) network: net::Network,
    pub(crate) network_settings: net::Settings,
    toolstack: Arc<dyn Toolstack>,
}

/// One app: its record, and its state when it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct App {
    /// What was asked for when the app was created.
    #[serde(flatten)]
    pub record: Record,
    /// Where in its life the app is.
    pub state: State,
}

impl From<Locked> for App {
    fn from(Locked { record, state, .. }: Locked) -> Self {
        Self { record, state }
    }
}

impl Apps {
    /// Opens the apps kept under `state_dir` (`/var/lib/launch`).
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(
        state_dir: &Path,
        settings: &Settings,
        network: &net::Settings,
    ) -> Result<Self, AppsError> {
        let toolstack = Arc::new(Dom0::new(&settings.toolstack_settings()));
        Self::with_toolstack(state_dir, settings, network, toolstack)
    }

    /// Opens them as [`Apps::open`] does, with another toolstack.
    pub(crate) fn with_toolstack(
        state_dir: &Path,
        settings: &Settings,
        network: &net::Settings,
        toolstack: Arc<dyn Toolstack>,
    ) -> Result<Self, AppsError> {
        let apps = Self {
            state_dir: state_dir.to_owned(),
            settings: settings.clone(),
            network: net::Network::open(network, state_dir),
            network_settings: network.clone(),
            toolstack,
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

    /// The toolstack, which builds, asks, changes and destroys domains.
    pub(crate) fn toolstack(&self) -> &dyn Toolstack {
        &*self.toolstack
    }

    pub(crate) fn shared_toolstack(&self) -> Arc<dyn Toolstack> {
        Arc::clone(&self.toolstack)
    }

    /// The toolstack of a new app.
    pub(crate) fn choose_toolstack(&self, request: &ShapeRequest) -> ToolstackKind {
        let asked = request.toolstack.or(self.settings.toolstack);
        asked.unwrap_or_else(|| match self.toolstack.is_xen_known() {
            Ok(false) => ToolstackKind::Xl,
            // If Xen is missing, the app's start returns the error.
            Ok(true) | Err(_) => ToolstackKind::Native,
        })
    }

    /// The type of a new app's domain.
    pub(crate) fn choose_kind(&self, request: &ShapeRequest) -> Kind {
        request.kind.or(self.settings.kind).unwrap_or_else(|| self.toolstack.usual_kind())
    }

    /// Where the state folders of all apps are.
    pub(crate) fn folders(&self) -> PathBuf {
        self.state_dir.join("domains")
    }

    /// Where the folders of pooled domains are.
    pub(crate) fn pool_folder(&self) -> PathBuf {
        self.state_dir.join("pool")
    }

    /// Where templates of writable layers are kept.
    pub(crate) fn templates(&self) -> PathBuf {
        self.state_dir.join("templates")
    }

    pub(crate) fn names(&self) -> Names {
        Names(self.state_dir.join("names"))
    }

    pub(crate) fn folder(&self, id: &str) -> Folder {
        Folder::new(self.folders().join(id))
    }

    /// Waits for the lock that is held while apps get names and their folders are created and removed.
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

    /// The app with this name or id, or the only app whose name or id begins with it.
    ///
    /// # Errors
    /// No app matches, or several do.
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

    /// Whether this app is stopped and keeps its image's disk by a hard link, so that the image can be removed. False
    /// if apps and images are on two file systems.
    #[must_use]
    pub fn can_spare_image(&self, app: &App) -> bool {
        let disk = self.folder(&app.record.id).file(folder::ROOT_DISK);
        app.state.can_start() && !disk.is_symlink()
    }

    /// Whether any app uses this image, not counting those for which `may_lose_it` is true. Returns true if the apps
    /// cannot be listed.
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
                // The repair of apps reports the damaged one; the list shows the others.
                Err(AppsError::File(error)) if error.is_damaged() => {}
                read => apps.extend(read?),
            }
        }
        apps.sort_by_key(|app| std::cmp::Reverse(app.record.created_unix_ms));
        Ok(apps)
    }

    /// Reads an app; `None` if it is incomplete or has been removed.
    pub(crate) fn read(&self, id: &str) -> Result<Option<App>, AppsError> {
        let folder = self.folder(id);
        let read =
            folder.read_record().and_then(|record| Ok(App { record, state: folder.read_state()? }));
        match read {
            Ok(app) => Ok(Some(app)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The ids of all state folders, including incomplete ones.
    pub(crate) fn ids(&self) -> Result<Vec<String>, AppsError> {
        Ok(ids_in(&self.folders())?)
    }

    /// The folders of pooled domains, including incomplete ones.
    pub(crate) fn pooled_folders(&self) -> Result<Vec<Folder>, AppsError> {
        let pool = self.pool_folder();
        match ids_in(&pool) {
            Ok(ids) => Ok(ids.into_iter().map(|id| Folder::new(pool.join(id))).collect()),
            Err(error) if error.is_not_found() => Ok(vec![]),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this is the id of a pooled domain, or of one that is being built for a pool.
    pub(crate) fn is_pooled(&self, id: &str) -> bool {
        self.pool_folder().join(id).exists()
    }
}

/// Creates the folder that holds all state, for root only. Corrects the mode if an older version left the folder open.
///
/// # Errors
/// The file system refuses it.
pub fn make_state_folder(path: &Path) -> Result<(), FileError> {
    files::make_private_with(path, &STATE).map_err(FileError::io("make", path))
}
