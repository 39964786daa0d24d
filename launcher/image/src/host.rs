//! What fetching an image needs of its surroundings: the launcher, at the other end of a socket.

use crate::progress::Event;
use serde::{Deserialize, Serialize};
use std::{fs::File, io};

/// What the child needs from the launcher.
pub(crate) trait Host: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
    /// A file of the layout folder.
    fn open(&self, path: &str) -> io::Result<File>;
    /// An empty file that goes with the child.
    fn scratch(&self) -> io::Result<File>;
    /// It is known which image it is; `None`: the disk is there already.
    fn resolved(&self, resolved: Resolved) -> io::Result<Option<File>>;
}

/// Which image it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Resolved {
    pub(crate) identity: Identity,
    /// Full names that an archive gives it.
    pub(crate) names: Vec<String>,
}

/// What the launcher computes the image's digest from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Identity {
    /// The document that was asked for, then each index's choice, the manifest last.
    Manifests(Vec<String>),
    /// The image's config, in a docker-archive, which has no manifest.
    Config(String),
    /// The finished disk: a root file system has no documents.
    Contents,
}
