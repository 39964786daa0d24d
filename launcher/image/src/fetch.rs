//! Fetching and converting in a child process that gave up root.
//!
//! The launcher starts `fetch`, a program of its own, with a socket for standard input, hands over
//! the request and open files, and gets back events and one result. Registry answers, tars and
//! compressed data are parsed there only, and all code for it is in that program only.

mod channel;
mod child;
mod job;
mod messages;
mod parent;
mod sandbox;

pub use child::fetch_child;
pub(crate) use job::Host;
pub(crate) use messages::{Credentials, Done};
pub(crate) use parent::{Decision, fetch};
#[cfg(test)]
pub(crate) use {
    job::run,
    messages::{Input, Request, Resolved},
};

use contract::Untrusted;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// Why an image could not be fetched or converted.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The child says why; one line that names object, cause and next step.
    #[error("{message}")]
    Failed {
        /// What kind of failure it is.
        kind: FailureKind,
        /// The line: the child saw what the image and its registry say.
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
    /// The child could not be talked to.
    #[error("cannot {action}")]
    Child {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The child was ended from outside, or by its own sandbox.
    #[error("the child that fetches {name} {how}")]
    Died {
        /// The image.
        name: String,
        /// `was killed by signal 31 (…)` or `left with code 1`, and what the child wrote last.
        how: Untrusted,
    },
}

/// Kinds of failures, for callers that act on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// No such image, file, tag or digest.
    NotFound,
    /// The registry wants other credentials.
    Denied,
    /// The registry cannot be reached or does not work.
    Unreachable,
    /// Contents do not have the digest or the size they should have.
    Mismatch,
    /// The image is for another architecture or system.
    Platform,
    /// No space left for the disk.
    DiskFull,
    /// The image breaks the rules or a limit.
    Image,
    /// Anything else.
    Other,
}
