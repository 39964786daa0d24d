//! Why a command cannot talk to a guest.

use crate::error::AppsError;
use contract::{Untrusted, talk};
use std::io;
use std::time::{Duration, Instant};
use xen::vchan::VchanError;

/// Why a command cannot talk to a guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TalkError {
    /// The app's state cannot be read, or the app does not run.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// The vchan fails.
    #[error("cannot talk to the guest of app {name}")]
    Vchan {
        /// The app.
        name: String,
        /// Why it failed.
        source: VchanError,
    },
    /// The guest sent bytes that are not a valid frame.
    #[error("the guest of app {name} sent an invalid message")]
    Frame {
        /// The app.
        name: String,
        /// What is wrong with the frame.
        source: talk::FrameError,
    },
    /// The guest sent a valid answer to another request.
    #[error("the guest of app {0} sent an answer that does not belong to the request")]
    Unexpected(String),
    /// The guest gave no answer in time.
    #[error(
        "the guest of app {name} did not answer within {seconds} seconds; it may be paused or out of memory: see `launch logs {name}` and `xl list`; `launch stop {name}` ends it"
    )]
    Silent {
        /// The app.
        name: String,
        /// How long the command waited.
        seconds: u64,
    },
    /// The app's domain has ended.
    #[error("app {0} has ended")]
    Ended(String),
    /// The guest refuses the request, for the reason in its own words.
    #[error("{0}")]
    Refused(Untrusted),
    /// The request is larger than a guest accepts.
    #[error("arguments and environment are too large: {0} bytes, at most {max}", max = talk::MAX_HELLO_BYTES)]
    TooLarge(usize),
    /// The operating system cannot wait.
    #[error("cannot wait for the guest of app {name}")]
    Wait {
        /// The app.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// The time by which a guest must have given its first answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// The whole time from the beginning, for the message.
    pub(crate) patience: Duration,
}

impl Deadline {
    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub(crate) fn silent(&self, name: &str) -> TalkError {
        TalkError::Silent { name: name.to_owned(), seconds: self.patience.as_secs() }
    }
}
