//! What launcher and child say to each other.

use crate::{
    certificates::Certificates, credentials::Credentials, failure::FailureKind, host::Resolved,
    progress::Event, reference::Reference, settings::Settings, source::Chosen,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From the launcher to the child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Comes first and once, with the open archive if the source is one.
    Fetch(Box<Request>),
    /// Answers [`Answer::Resolved`], with the open file for the disk.
    Write,
    /// Answers [`Answer::Resolved`]: the disk is there already.
    Stop,
    /// Answers [`Answer::Open`] and [`Answer::Scratch`], with the file.
    File,
    /// Answers the same two: there is none.
    NoFile {
        /// It is simply not there.
        missing: bool,
        /// Why.
        cause: String,
    },
}

/// What to fetch, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The source as it was given, for messages.
    pub(crate) name: String,
    pub(crate) input: Input,
    pub(crate) settings: Settings,
    /// By the registry's or mirror's `HOST[:PORT]`.
    pub(crate) credentials: BTreeMap<String, Credentials>,
    pub(crate) certificates: Certificates,
    /// The user to become, when started by root.
    pub(crate) uid: u32,
}

/// [`crate::Source`] without paths: the child gets open files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Input {
    Registry(Reference),
    DockerArchive { image: Option<Chosen> },
    OciArchive { tag: Option<String> },
    OciLayout { tag: Option<String> },
    Dir,
    Rootfs,
}

/// From the child to the launcher. The child may be in an image's hands, so all of it is checked
/// before it is used.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Event(Event),
    Resolved(Resolved),
    /// A file of the layout folder is wanted.
    Open {
        path: String,
    },
    /// A file is wanted for an archive that cannot be read to and fro as it is; once.
    Scratch,
    Done(Box<Done>),
    Failed {
        kind: FailureKind,
        message: String,
    },
}

/// The disk is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The image's config as it is stored; `None`: it has none.
    pub(crate) config: Option<String>,
    pub(crate) disk_bytes: u64,
}
