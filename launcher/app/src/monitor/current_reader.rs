//! The keeper's current or next reader.

use crate::monitor::messages::Progress;
use crate::monitor::process::Process;
use std::time::{Duration, Instant};

/// The least time between the start of a reader that ends for a vchan and the start of the next one.
pub(super) const READER_TIME: Duration = Duration::from_millis(250);
/// The most readers that are tried while the app ends, if they die or are replaced.
pub(super) const READERS_AT_THE_END: u32 = 3;
/// How long a reader may take to parse what the keeper gave it.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The reader that the keeper has, or will start.
pub(super) enum Reader {
    Runs(Process, Instant),
    /// No reader runs; the next one starts at this time.
    Due {
        at: Instant,
        progress: Progress,
        with_vchan: bool,
    },
    /// No reader can be started.
    Impossible,
}

impl Reader {
    /// No reader runs yet, and the first one starts now.
    pub(super) fn first() -> Self {
        Self::Due { at: Instant::now(), progress: Progress::default(), with_vchan: false }
    }
}
