//! Why something could not be done with an app.

use crate::request::error::ResolveError;
use crate::storage::writable::WritableError;
use crate::store::names::NameError;
use contract::one_line;
use files::FileError;
use std::io;
use toolstack::ToolstackError;

/// Why something could not be done with an app.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// No app has this name or id.
    #[error("no such app: no name or id is or begins with {0:?}; see `launch ps -a`")]
    Unknown(String),
    /// Several begin so.
    #[error("several apps have a name or id that begins with {0:?}: {1}; give more of it")]
    Ambiguous(String, String),
    /// A name that cannot be given, or is taken.
    #[error(transparent)]
    Name(NameError),
    /// It is called so.
    #[error("app {0} already has this name")]
    SameName(String),
    /// Both at once make no sense.
    #[error("app {0} is removed when it ends (--rm), so it cannot have a restart policy")]
    RestartAndRemove(String),
    /// It runs, or someone else is just starting or removing it.
    #[error("app {0} runs; stop it first, or use force")]
    Running(String),
    /// It does not run.
    #[error("app {0} does not run")]
    NotRunning(String),
    /// It is paused already.
    #[error("app {0} is already paused")]
    Paused(String),
    /// It is not paused.
    #[error("app {0} is not paused")]
    NotPaused(String),
    /// Its guest does not pass a signal on.
    #[error(
        "the guest of app {name} has not passed the signal on in {seconds} s; `launch logs {name}` may say why, and `launch kill {name}` ends it in any case"
    )]
    NoAnswer {
        /// The app.
        name: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// It would not end.
    #[error(
        "app {0} was asked to end and its domain destroyed, but its monitor is not done; see `xl list`"
    )]
    Stuck(String),
    /// The launch makes no sense.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// State files.
    #[error(transparent)]
    File(#[from] FileError),
    /// The writable layer.
    #[error(transparent)]
    Writable(#[from] WritableError),
    /// The toolstack.
    #[error(transparent)]
    Toolstack(#[from] ToolstackError),
    /// The network.
    #[error(transparent)]
    Network(#[from] net::NetworkError),
    /// An admin's bridge.
    #[error(transparent)]
    Bridge(#[from] net::NetworkRequestError),
    /// Xenstore.
    #[error(transparent)]
    Store(#[from] xen::store::StoreError),
    /// A pool on a Xen that is not known.
    #[error("pools need the native toolstack, which does not know the interface of this Xen")]
    PoolNeedsNative,
    /// A pool's image is gone.
    #[error(
        "image {0:?} of a pool is not here; pull it, or end the pool with `launch pool --image {0} --size 0`"
    )]
    PoolImage(String),
    /// The images.
    #[error(transparent)]
    Image(#[from] image::StoreError),
    /// The monitor could not be started.
    #[error("cannot start the monitor of app {name}")]
    Monitor {
        /// The app.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// Something failed, and so did undoing it.
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
    /// This error, and that of undoing what it left half-done.
    pub(crate) fn and<E: Into<Self>>(self, undo: Result<(), E>) -> Self {
        match undo {
            Ok(()) => self,
            Err(second) => Self::Both(Box::new(self), Box::new(second.into())),
        }
    }
}
