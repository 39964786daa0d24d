//! The reader that the keeper has, or is to have.

use crate::monitor::messages::Progress;
use crate::monitor::process::Process;
use std::time::{Duration, Instant};

/// A reader that ended to have a vchan is followed by the next one no sooner than this after it began.
pub(super) const READER_TIME: Duration = Duration::from_millis(250);
/// If readers die or are replaced while the app ends, so many are tried.
pub(super) const READERS_AT_THE_END: u32 = 3;
/// How long a reader may take to parse what it was given.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The other process.
pub(super) enum Reader {
    Runs(Process, Instant),
    /// None runs; the next one is to begin then.
    Due {
        at: Instant,
        progress: Progress,
        with_vchan: bool,
    },
    /// None can be had.
    Impossible,
}

impl Reader {
    /// None runs yet, and the first one is to begin.
    pub(super) fn first() -> Self {
        Self::Due { at: Instant::now(), progress: Progress::default(), with_vchan: false }
    }
}
