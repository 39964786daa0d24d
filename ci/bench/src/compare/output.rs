//! The files that a comparison writes: figures, picture, page.

use super::svg;
use anyhow::{Context, Result};
use lab::host::install_missing;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// (program or file, package) of what a PNG is made with.
const PICTURE_PROGRAMS: &[(&str, &str)] = &[
    ("rsvg-convert", "librsvg2-bin"),
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
];

/// The files wanted.
#[derive(Debug, clap::Args)]
pub struct Files {
    /// Write everything that was measured to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw it: an SVG file, and a PNG beside it
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,
    /// Write it as a page; it names the picture and the JSON file
    #[arg(long, value_name = "FILE.md", requires_all = ["json", "picture"])]
    pub document: Option<PathBuf>,
}

impl Files {
    /// Installs what the picture is made with; not on a dom0 that is in use.
    ///
    /// # Errors
    /// When it cannot be installed.
    pub fn prepare(&self, here: bool) -> Result<()> {
        match self.picture.is_some() && !here {
            true => install_missing(PICTURE_PROGRAMS),
            false => Ok(()),
        }
    }

    /// Writes those that are wanted; `page` is given how it names the picture and the JSON file.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write<R: Serialize>(
        &self,
        report: &R,
        draw: impl FnOnce(&R) -> String,
        page: impl FnOnce(&R, &str, &str) -> String,
    ) -> Result<()> {
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        if let Some(path) = &self.json {
            write(path, serde_json::to_string_pretty(report)? + "\n")?;
        }
        if let Some(path) = &self.picture {
            svg::write(&draw(report), path)?;
        }
        if let (Some(path), Some(picture), Some(json)) = (&self.document, &self.picture, &self.json)
        {
            write(path, page(report, &relative_to(picture, path), &relative_to(json, path)))?;
        }
        Ok(())
    }
}

/// Reads what an earlier run wrote.
///
/// # Errors
/// When it cannot be read.
pub fn read<R: DeserializeOwned>(path: &Path) -> Result<R> {
    let explain = || format!("cannot read {}", path.display());
    let text = std::fs::read(path).with_context(explain)?;
    serde_json::from_slice(&text).with_context(explain)
}

/// How a page names a file: as it was given, less the page's own folder.
fn relative_to(file: &Path, page: &Path) -> String {
    let folder = page.parent().unwrap_or(Path::new(""));
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

/// A page's first lines, which say whether it is about an emulated machine.
#[must_use]
pub fn heading(title: &str, emulated: Option<&String>) -> String {
    match emulated {
        Some(text) => format!("# {title}, emulated: not on real hardware\n\n{text}\n\n"),
        None => format!("# {title} on real hardware\n\n"),
    }
}

/// A page's table of the machine.
pub fn add_machine(page: &mut String, machine: &BTreeMap<String, String>) {
    *page += "\n## The machine\n\n| | |\n|---|---|\n";
    for (name, value) in machine {
        let _ = writeln!(page, "| {name} | {value} |");
    }
}

/// A page's list of the cases where we lose.
#[must_use]
pub fn losses(lost: &[String]) -> String {
    let list: String = lost.iter().map(|line| format!("- {line}\n")).collect();
    let text = if lost.is_empty() { "Nowhere in this run.\n" } else { &list };
    format!("## Where we lose\n\n{text}")
}
