//! What builds and destroys domains, behind one trait.

use crate::spec::{DomainSpec, Uuid};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use xen::DomId;

/// Builds and destroys domains. What is asked of them is the same for all: [`crate::domains`].
///
/// Calls block. They are safe to make from several processes at once, for different domains.
pub trait Toolstack: Send + Sync {
    /// Builds the domain and lets it run; its app's state folder is `folder`.
    ///
    /// Programs that take part inherit `lock`, the open lock file of the app: as long as one of
    /// them goes on building after this process was killed, nobody takes the app for left behind.
    ///
    /// # Errors
    /// The domain could not be built; nothing of it is left then.
    fn create(&self, spec: &DomainSpec, folder: &Path, lock: File)
    -> Result<DomId, ToolstackError>;

    /// Destroys the domain with all its devices; a domain that is already gone is no error.
    ///
    /// # Errors
    /// The domain is still there.
    fn destroy(&self, domid: DomId, uuid: Uuid) -> Result<(), ToolstackError>;
}

/// The toolstacks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolstackKind {
    /// Our own, for a Xen whose interface is known.
    Native,
    /// Xen's `xl`, for any Xen.
    Xl,
}

impl fmt::Display for ToolstackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Xl => "xl",
        })
    }
}

impl FromStr for ToolstackKind {
    type Err = ToolstackKindError;

    fn from_str(text: &str) -> Result<Self, ToolstackKindError> {
        match text {
            "native" => Ok(Self::Native),
            "xl" => Ok(Self::Xl),
            _ => Err(ToolstackKindError(text.to_owned())),
        }
    }
}

/// Not a toolstack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("toolstack {0:?} is not known; use native or xl")]
pub struct ToolstackKindError(String);

/// What has become of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainState {
    /// Running, blocked or paused.
    Alive,
    /// Shut down and not yet destroyed.
    ShutDown(ShutdownReason),
    /// Being destroyed, or gone.
    Gone,
}

impl DomainState {
    /// Whether the domain runs no more. One that is suspended goes on when it is resumed.
    #[must_use]
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Alive | Self::ShutDown(ShutdownReason::Suspend))
    }
}

/// Why a domain shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// The guest powered off.
    PowerOff,
    /// The guest wants to start again.
    Reboot,
    /// The guest was saved.
    Suspend,
    /// The guest kernel crashed.
    Crash,
    /// The guest's watchdog ran out.
    Watchdog,
    /// Anything else.
    Other,
}

/// Why a toolstack could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ToolstackError {
    /// No Xen below.
    #[error("cannot find {path}: this is not a Xen dom0; boot under Xen, or try it with ci/try")]
    NoXen {
        /// The device that is missing.
        path: PathBuf,
    },
    /// Not root.
    #[error("cannot open {path}: permission denied; run as root in dom0")]
    NotRoot {
        /// The device that may not be opened.
        path: PathBuf,
    },
    /// The `xl` program is missing.
    #[error("cannot find the program xl; install Xen's tools (Debian: xen-utils)")]
    NoXl,
    /// A file that every domain needs is missing.
    #[error("cannot read the {what} {path}")]
    File {
        /// `guest kernel`, `initramfs`, …
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// The config could not be rendered.
    #[error(transparent)]
    Config(#[from] crate::xlcfg::ConfigError),
    /// A program could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `xl` ran and failed.
    #[error("xl cannot {action} domain {domain}: {cause}")]
    Xl {
        /// `create`, `destroy`, …
        action: &'static str,
        /// Name or domid.
        domain: String,
        /// What xl and libxl said, in one line.
        cause: String,
    },
    /// Xen has too little free memory.
    #[error(
        "not enough memory for domain {domain}: it wants {memory_mib} MiB{free}; stop another domain, or give less with --memory"
    )]
    NoMemory {
        /// Its name.
        domain: String,
        /// What it wanted.
        memory_mib: u32,
        /// `, N MiB are free`, where that is known.
        free: String,
    },
    /// The machine cannot run domains of this kind.
    #[error("this machine cannot run {0} domains; choose the other with --type pv or --type pvh")]
    KindImpossible(crate::Kind),
    /// The config could not be written.
    #[error(transparent)]
    Write(crate::folder::FileError),
    /// The domain could not be built.
    #[error(transparent)]
    Build(#[from] xen::builder::BuildError),
    /// The interface could not join its bridge.
    #[error(transparent)]
    Link(#[from] net::LinkError),
    /// The guest cannot be told what to do.
    #[error(transparent)]
    Handover(#[from] crate::handover::HandoverError),
    /// Xen refused.
    #[error(transparent)]
    Xen(#[from] xen::XenError),
    /// The disks' loop devices cannot be listed, or one not detached.
    #[error(transparent)]
    Loop(#[from] crate::loopdev::LoopError),
    /// Something failed, and so did undoing it.
    #[error("{}; and then: {}", crate::hotplug::describe(.0.as_ref()), crate::hotplug::describe(.1.as_ref()))]
    Both(Box<ToolstackError>, Box<ToolstackError>),
    /// Xen's figures can only be had from a Xen that is known.
    #[error("this Xen's interface is not known, and so its figures are not; use xentop")]
    UnknownXen,
    /// Another domain has the name.
    #[error(
        "the name {0} is taken by another Xen domain; choose one with --name, or see `xl list`"
    )]
    NameTaken(String),
    /// The domain was built, and cannot be found.
    #[error("domain {0} is gone right after it was built")]
    Vanished(String),
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] xen::store::StoreError),
}
