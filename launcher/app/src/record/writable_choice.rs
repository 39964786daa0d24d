//! What takes an app's writes.

use serde::{Deserialize, Serialize};

/// What takes the writes to `/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WritableChoice {
    /// A disk for this app, kept until the app is removed.
    #[default]
    Disk,
    /// The guest's memory.
    Memory,
    /// Nothing: `/` is read-only.
    Nothing,
}
