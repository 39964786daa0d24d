//! `/etc/launch/config.toml`, with a section for each crate's settings.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

const FILE: &str = "/etc/launch/config.toml";

/// Everything that an admin can set; absent values have defaults.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where images and apps are kept.
    pub(crate) state: PathBuf,
    /// Registries, mirrors, limits.
    pub(crate) image: image::Settings,
    /// Bridge, subnet, name servers.
    pub(crate) network: net::Settings,
    /// Toolstack, kernel, state folder.
    pub(crate) domain: app::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state: "/var/lib/launch".into(),
            image: image::Settings::default(),
            network: net::Settings::default(),
            domain: app::Settings::default(),
        }
    }
}

impl Settings {
    /// Reads the file that `LAUNCH_CONFIG` names, or else the one in `/etc`, which may be missing.
    pub(crate) fn read() -> Result<Self> {
        match std::env::var_os("LAUNCH_CONFIG") {
            Some(path) => Self::read_file(&PathBuf::from(path)),
            None if Path::new(FILE).exists() => Self::read_file(Path::new(FILE)),
            None => Ok(Self::default()),
        }
    }

    fn read_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read settings {}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            // The message of the toml crate has several lines; this takes only one.
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            anyhow::anyhow!("{}:{line}: {}", path.display(), error.message().replace('\n', "; "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_named_with_its_line() {
        let file = std::env::temp_dir().join(format!("launch-settings-{}", std::process::id()));
        std::fs::write(&file, "[network]\nbrigde = \"x\"\n").unwrap();
        let error = Settings::read_file(&file).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains(":2: ") && error.contains("brigde"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
