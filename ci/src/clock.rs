//! The source of time of a lab's clock.

use serde::{Deserialize, Serialize};

/// The source of time of a lab's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The time of day
    #[default]
    Wall,
    /// The number of instructions that the emulated processors have executed, one per nanosecond, independent of the
    /// machine's load. Waiting still takes real time
    Instructions,
}

impl Clock {
    /// One word, for a lab's name or a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Instructions => "instructions",
        }
    }
}
