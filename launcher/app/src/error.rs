//! The errors of operations on apps.

use crate::request::error::ResolveError;
use crate::storage::writable::WritableError;
use crate::store::names::NameError;
use contract::one_line;
use files::FileError;
use std::io;
use toolstack::ToolstackError;

/// Why an operation on an app failed.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// No app has this name or id.
    #[error("no such app: no name or id is or begins with {0:?}; see `launch ps -a`")]
    Unknown(String),
    /// Several apps have a name or id that begins with this.
    #[error("several apps have a name or id that begins with {0:?}: {1}; give more of it")]
    Ambiguous(String, String),
    /// The name is invalid or taken.
    #[error(transparent)]
    Name(NameError),
    /// The app already has the name that it should get.
    #[error("app {0} already has this name")]
    SameName(String),
    /// A restart policy and `--rm` exclude each other.
    #[error("app {0} is removed when it ends (--rm), so it cannot have a restart policy")]
    RestartAndRemove(String),
    /// The app runs, or another command is starting or removing it.
    #[error("app {0} runs; stop it first, or use force")]
    Running(String),
    /// The app does not run.
    #[error("app {0} does not run")]
    NotRunning(String),
    /// The app is already paused.
    #[error("app {0} is already paused")]
    Paused(String),
    /// The app is not paused.
    #[error("app {0} is not paused")]
    NotPaused(String),
    /// The app's guest did not pass a signal on.
    #[error(
        "the guest of app {name} has not passed the signal on in {seconds} s; `launch logs {name}` may say why, and `launch kill {name}` ends it in any case"
    )]
    NoAnswer {
        /// The app.
        name: String,
        /// How long the command waited.
        seconds: u64,
    },
    /// The app did not end.
    #[error(
        "app {0} was asked to end and its domain was destroyed, but its monitor has not finished; see `xl list`"
    )]
    Stuck(String),
    /// The request cannot be turned into an app.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A state file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The writable layer cannot be made.
    #[error(transparent)]
    Writable(#[from] WritableError),
    /// The toolstack failed.
    #[error(transparent)]
    Toolstack(#[from] ToolstackError),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] net::NetworkError),
    /// The network request does not fit the admin's bridge.
    #[error(transparent)]
    Bridge(#[from] net::NetworkRequestError),
    /// Xenstore failed.
    #[error(transparent)]
    Store(#[from] xen::store::StoreError),
    /// Pools need an interface of Xen that `launch` knows.
    #[error("pools need the native toolstack, which does not know the interface of this Xen")]
    PoolNeedsNative,
    /// The image of a pool does not exist.
    #[error(
        "image {0:?} of a pool is not here; pull it, or end the pool with `launch pool --image {0} --size 0`"
    )]
    PoolImage(String),
    /// The image store failed.
    #[error(transparent)]
    Image(#[from] image::StoreError),
    /// The monitor could not be started.
    #[error("cannot start the monitor of app {name}")]
    Monitor {
        /// The app.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
    /// An operation failed, and undoing it failed too.
    #[error("{}; and then: {}", one_line(.0.as_ref()), one_line(.1.as_ref()))]
    Both(Box<AppsError>, Box<AppsError>),
}

impl From<NameError> for AppsError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::File(error) => Self::File(error),
            error => Self::Name(error),
        }
    }
}

impl AppsError {
    /// Adds the error of undoing, if that failed too.
    pub(crate) fn and<E: Into<Self>>(self, undo: Result<(), E>) -> Self {
        match undo {
            Ok(()) => self,
            Err(second) => Self::Both(Box::new(self), Box::new(second.into())),
        }
    }
}
