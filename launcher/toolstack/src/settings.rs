//! The settings of toolstacks.

use std::path::PathBuf;

/// The programs and templates that toolstacks use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program that libxl runs for each disk and interface.
    pub hotplug: PathBuf,
    /// Where an admin puts edited copies of the xl templates.
    pub templates: PathBuf,
}
