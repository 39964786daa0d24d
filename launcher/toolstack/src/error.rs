//! Why a toolstack could not do what it was asked to.

use crate::disk::loopdev::LoopError;
use crate::spec::Kind;
use crate::xl_config::ConfigError;
use contract::one_line;
use files::FileError;
use std::path::PathBuf;

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
    Config(#[from] ConfigError),
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
    KindImpossible(Kind),
    /// A file for `xl` or `hotplug` could not be written.
    #[error(transparent)]
    Write(FileError),
    /// The domain could not be built.
    #[error(transparent)]
    Build(#[from] xen::builder::BuildError),
    /// The interface could not join its bridge.
    #[error(transparent)]
    Link(#[from] net::LinkError),
    /// Xen refused.
    #[error(transparent)]
    Xen(#[from] xen::XenError),
    /// The disks' loop devices cannot be listed, or one not detached.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// Something failed, and so did undoing it.
    #[error("{}; and then: {}", one_line(.0.as_ref()), one_line(.1.as_ref()))]
    Both(Box<ToolstackError>, Box<ToolstackError>),
    /// Xen's figures can only be had from a Xen that is known.
    #[error("cannot read figures: the interface of this Xen is not known; use xentop")]
    UnknownXen,
    /// Another domain has the name.
    #[error(
        "the name {0} is taken by another Xen domain; choose one with --name, or see `xl list`"
    )]
    NameTaken(String),
    /// The domain was built, and cannot be found.
    #[error("domain {0} ended right after it was built")]
    Vanished(String),
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] xen::store::StoreError),
}
