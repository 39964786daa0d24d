//! What a lab's clock goes by.

use serde::{Deserialize, Serialize};

/// What a lab's clock goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The time of day
    #[default]
    Wall,
    /// Instructions of the emulated processors, one each nanosecond, whatever the machine does
    /// besides. Waiting takes its time.
    Instructions,
}

impl Clock {
    /// In a word, for a lab's name or a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Instructions => "instructions",
        }
    }
}
