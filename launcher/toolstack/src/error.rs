//! The errors of toolstacks.

use crate::disk::loopdev::LoopError;
use crate::spec::Kind;
use crate::xl_config::ConfigError;
use contract::one_line;
use files::FileError;
use std::path::PathBuf;

/// Why a toolstack failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolstackError {
    /// This machine does not run Xen.
    #[error("cannot find {path}: this is not a Xen dom0; boot under Xen, or try it with ci/try")]
    NoXen {
        /// The device that is missing.
        path: PathBuf,
    },
    /// This process is not root.
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
    /// The config cannot be rendered.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// `xl` failed.
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
        "not enough memory for domain {domain}: it needs {memory_mib} MiB{free}; stop another domain, or give less with --memory"
    )]
    NoMemory {
        /// The domain's name.
        domain: String,
        /// The memory that the domain needs.
        memory_mib: u32,
        /// `, N MiB are free`, if known.
        free: String,
    },
    /// The machine cannot run domains of this type.
    #[error("this machine cannot run {0} domains; choose the other with --type pv or --type pvh")]
    KindImpossible(Kind),
    /// A file for `xl` or `hotplug` cannot be written.
    #[error(transparent)]
    Write(FileError),
    /// The domain cannot be built.
    #[error(transparent)]
    Build(#[from] xen::builder::BuildError),
    /// The interface cannot join its bridge.
    #[error(transparent)]
    Link(#[from] net::LinkError),
    /// Xen refuses.
    #[error(transparent)]
    Xen(#[from] xen::XenError),
    /// The disks' loop devices cannot be listed, or one cannot be detached.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// An operation failed, and undoing it failed too.
    #[error("{}; and then: {}", one_line(.0.as_ref()), one_line(.1.as_ref()))]
    Both(Box<ToolstackError>, Box<ToolstackError>),
    /// Figures need an interface of Xen that `launch` knows.
    #[error("cannot read figures: launch does not know the interface of this Xen; use xentop")]
    UnknownXen,
    /// Another domain has the name.
    #[error(
        "the name {0} is taken by another Xen domain; choose one with --name, or see `xl list`"
    )]
    NameTaken(String),
    /// The domain was built, but cannot be found.
    #[error("domain {0} ended right after it was built")]
    Vanished(String),
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] xen::store::StoreError),
}
