//! Why an image could not be fetched.

use crate::{failure::FailureKind, limits::LimitError};
use contract::Untrusted;
use std::io;
use std::path::PathBuf;

/// Why an image could not be fetched or converted.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The child's own error: one line that names object, cause and next step.
    #[error("{message}")]
    Failed {
        /// What kind of failure it is.
        kind: FailureKind,
        /// The line. It may contain text of the image or its registry.
        message: Untrusted,
    },
    /// The program of the child could not be started.
    #[error(
        "cannot start {}, which fetches images; install it, or set `fetcher` in [image] of \
         /etc/launch/config.toml", program.display()
    )]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Communication with the child failed.
    #[error("cannot {action}")]
    Child {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The child contradicts itself about the image; a hostile image may control it.
    #[error("{name} is rejected: the process that fetches it contradicts itself: {what}")]
    Untrue {
        /// The image.
        name: String,
        /// What it did.
        what: Untrusted,
    },
    /// The child ran into its memory limit.
    #[error("{name} takes too much memory to convert")]
    Memory {
        /// The image.
        name: String,
        /// The limit.
        #[source]
        limit: LimitError,
    },
    /// The child wrote past the size that a disk may have.
    #[error("the guest disk of {name} is too large")]
    Large {
        /// The image.
        name: String,
        /// The limit.
        #[source]
        limit: LimitError,
    },
    /// The time is over.
    #[error("{name} takes too many seconds to fetch and convert")]
    Slow {
        /// The image.
        name: String,
        /// The limit.
        #[source]
        limit: LimitError,
    },
    /// The child was ended from outside, or by its own sandbox.
    #[error("the process that fetches {name} {how}")]
    Died {
        /// The image.
        name: String,
        /// `was killed by signal 31 (…)` or `left with code 1`, and what the child wrote last.
        how: Untrusted,
    },
}
