//! Tests of several rooms together.

mod without_xen;

use crate::apps::{App, Apps};
use crate::life::create::create;
use crate::record::writable_choice::WritableChoice;
use crate::request::run_request::RunRequest;
use crate::settings::Settings;
use image::{Config, Digest, Image};
use std::fs;
use std::path::PathBuf;

/// A state folder of a test's own.
pub(crate) struct Place {
    pub(crate) root: tempfile::TempDir,
    pub(crate) apps: Apps,
}

pub(crate) fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("disk.erofs"), "disk").unwrap();
    let apps =
        Apps::open(&root.path().join("state"), &Settings::default(), &net::Settings::default());
    Place { apps: apps.unwrap(), root }
}

impl Place {
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
