//! Tests of several rooms together.

mod failures;
mod fake;
mod kills;
mod monitors;
mod older_files;
mod restarts;
mod running;
mod without_xen;

use crate::apps::{App, Apps};
use crate::life::create::create;
use crate::record::writable_choice::WritableChoice;
use crate::request::run_request::RunRequest;
use crate::settings::Settings;
use crate::store::end_watch::EndWatch;
use crate::store::lock::Lock;
use fake::Fake;
use image::{Config, Digest, Image};
use monitors::Monitors;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A host for one test: a state folder and an image.
pub(crate) struct Host {
    pub(crate) root: tempfile::TempDir,
    pub(crate) apps: Apps,
    _alone: MutexGuard<'static, ()>,
}

/// A host with the real toolstack.
pub(crate) fn host() -> Host {
    let alone = alone();
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("disk.erofs"), "disk").unwrap();
    let apps =
        Apps::open(&root.path().join("state"), &Settings::default(), &net::Settings::default());
    Host { apps: apps.unwrap(), root, _alone: alone }
}

impl Host {
    pub(crate) fn request(&self) -> RunRequest {
        let image = Image {
            digest: Digest::of(b"manifest"),
            disk: self.root.path().join("disk.erofs"),
            disk_bytes: 4,
            disk_file: (0, 0),
            config: Config { cmd: vec!["nginx".into()], ..Config::default() },
            names: vec![],
            created_unix: 0,
        };
        // Most tests need no writable layer, and not every machine has mke2fs.
        RunRequest {
            writable: WritableChoice::Memory,
            ..RunRequest::new(image, "library/nginx:latest")
        }
    }

    pub(crate) fn create(&self) -> App {
        create(&self.apps, &self.request()).unwrap()
    }

    /// Everything under the state folder that a failed or finished app might leave.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in ["domains", "names"] {
            for entry in fs::read_dir(self.root.path().join("state").join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if !path.ends_with(".lock") && !path.ends_with(".looked") {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// A host without Xen that can build fake domains.
pub(crate) struct FakeHost {
    host: Host,
    pub(crate) fake: Arc<Fake>,
}

impl Deref for FakeHost {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        self.fake.monitors.end_all();
    }
}

/// A host whose monitors only hold their app's lock until its domain ends.
pub(crate) fn fake_host() -> FakeHost {
    let alone = alone();
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("disk.erofs"), "disk").unwrap();
    for file in ["vmlinux", "initrd"] {
        fs::write(path(file), "").unwrap();
    }
    let monitors = Monitors::new(root.path());
    let settings = Settings {
        kernel: path("vmlinux"),
        ramdisk: path("initrd"),
        monitor: monitors.program.clone(),
        ..Settings::default()
    };
    let fake = Arc::new(Fake::new(monitors));
    let apps = Apps::with_toolstack(
        &path("state"),
        &settings,
        &net::Settings::default(),
        Arc::clone(&fake) as _,
    );
    FakeHost { host: Host { apps: apps.unwrap(), root, _alone: alone }, fake }
}

impl FakeHost {
    /// A request whose app needs nothing of the host's network.
    pub(crate) fn quiet(&self) -> RunRequest {
        RunRequest { network: net::NetworkRequest::None, ..self.request() }
    }

    /// Kills the app's monitor and takes its lock.
    pub(crate) fn take_over(&self, app: &App) -> Lock {
        self.fake.monitors.kill(&app.record.id);
        let folder = self.apps.folder(&app.record.id);
        let deadline = Instant::now() + PATIENCE;
        assert!(EndWatch::new(&folder).unwrap().wait(Some(deadline)).unwrap(), "the lock is held");
        folder.take_lock().unwrap().unwrap()
    }

    /// Whether a process is in charge of the app.
    pub(crate) fn is_tended(&self, app: &App) -> bool {
        self.apps.folder(&app.record.id).take_lock().unwrap().is_none()
    }
}

/// How long a test waits for an expected event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Excludes other tests. For tests that start processes or check locks, because a process that a test has just forked
/// briefly holds copies of all locks of this one.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
