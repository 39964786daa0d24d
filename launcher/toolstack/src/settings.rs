//! What an admin can set about the building of domains.

use std::path::PathBuf;

/// The programs and templates that toolstacks use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program that libxl runs for each disk and interface.
    pub hotplug: PathBuf,
    /// Where edited copies of the xl templates are looked for.
    pub templates: PathBuf,
}
