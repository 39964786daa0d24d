//! Tests of several rooms together.

mod failures;
mod fake;
mod kills;
mod restarts;
mod running;
mod without_xen;

use crate::apps::{App, Apps};
use crate::life::create::create;
use crate::record::writable_choice::WritableChoice;
use crate::request::run_request::RunRequest;
use crate::settings::Settings;
use fake::Fake;
use image::{Config, Digest, Image};
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A host of a test's own: a state folder and an image.
pub(crate) struct Host {
    pub(crate) root: tempfile::TempDir,
    pub(crate) apps: Apps,
}

pub(crate) fn host() -> Host {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("disk.erofs"), "disk").unwrap();
    let apps =
        Apps::open(&root.path().join("state"), &Settings::default(), &net::Settings::default());
    Host { apps: apps.unwrap(), root }
}

impl Host {
    pub(crate) fn request(&self) -> RunRequest {
        let image = Image {
            digest: Digest::of(b"manifest"),
            disk: self.root.path().join("disk.erofs"),
            disk_bytes: 4,
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

/// A host without Xen on which domains can be built.
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
        // Monitors that are left end now.
        fs::write(&self.fake.end, "").unwrap();
    }
}

/// A host whose monitors hold their app's lock until a domain ends, and do nothing else.
pub(crate) fn fake_host() -> FakeHost {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("disk.erofs"), "disk").unwrap();
    for file in ["vmlinux", "initrd"] {
        fs::write(path(file), "").unwrap();
    }
    let end = path("end");
    let monitor = path("monitor");
    // It ends with the test too, whose folder is gone then.
    let (folder, ended) = (root.path().display(), end.display());
    let script =
        format!("#!/bin/sh\nwhile [ -d {folder} ] && [ ! -e {ended} ]; do sleep 0.1; done\n");
    fs::write(&monitor, script).unwrap();
    fs::set_permissions(&monitor, fs::Permissions::from_mode(0o700)).unwrap();
    let settings = Settings {
        kernel: path("vmlinux"),
        ramdisk: path("initrd"),
        monitor,
        ..Settings::default()
    };
    let fake = Arc::new(Fake::new(end));
    let apps = Apps::with_toolstack(
        &path("state"),
        &settings,
        &net::Settings::default(),
        Arc::clone(&fake) as _,
    );
    FakeHost { host: Host { apps: apps.unwrap(), root }, fake }
}

impl FakeHost {
    /// A request whose app needs nothing of the host's network.
    pub(crate) fn quiet(&self) -> RunRequest {
        RunRequest { network: net::NetworkRequest::None, ..self.request() }
    }

    /// Removes the file that lets monitors end, so that the next one stays.
    pub(crate) fn keep_monitors(&self) {
        let _ = fs::remove_file(&self.fake.end);
    }
}
