//! OCI image layouts: `index.json` and blobs by digest, in a folder or in a tar.

use super::{
    error::{ArchiveError, list_names},
    index::TarIndex,
};
use crate::{
    digest::Digest,
    failure::{Failure, FailureKind},
    host::Host,
    json::{Fields, Json},
    manifest::{self, Descriptor, Entry, MAX_MANIFEST_BYTES, ManifestError, Parsed},
    oci::{self, Blobs},
    reference::Reference,
    source::is_id,
};
use std::{collections::BTreeSet, io::Read, sync::Arc};

/// The files of a layout, wherever they are.
pub(crate) trait Files: Send + Sync {
    fn open(&self, path: &str) -> Result<(u64, Box<dyn Read + Send>), Failure>;
}

impl Files for TarIndex {
    fn open(&self, path: &str) -> Result<(u64, Box<dyn Read + Send>), Failure> {
        TarIndex::open(self, path)
    }
}

/// A layout folder, whose files the launcher opens.
pub(crate) struct Folder {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) name: String,
}

impl Files for Folder {
    fn open(&self, path: &str) -> Result<(u64, Box<dyn Read + Send>), Failure> {
        let not_there =
            || ArchiveError::NoFile { archive: self.name.clone(), file: path.to_owned() };
        let read =
            |source| ArchiveError::Read { archive: format!("{path} of {}", self.name), source };
        match self.host.open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(not_there().into()),
            Err(error) => Err(read(error).into()),
            Ok(file) => Ok((file.metadata().map_err(read)?.len(), Box::new(file))),
        }
    }
}

/// An OCI layout.
pub(crate) struct Layout {
    files: Box<dyn Files>,
    name: String,
}

impl Layout {
    /// `name` is for messages.
    pub(crate) fn open(files: Box<dyn Files>, name: &str) -> Result<Self, Failure> {
        let layout = Self { files, name: name.to_owned() };
        let file = "oci-layout";
        let json = match layout.read(file, 4096) {
            // Other tools do not look for it either, if the index is there.
            Err(failure) if failure.kind == FailureKind::NotFound => {
                return layout.without_marker(file);
            }
            json => json?,
        };
        let error = |source| ArchiveError::Json { archive: name.to_owned(), file, source };
        let json = Json::parse(&json).map_err(error)?;
        let version = Fields::of(&json, "").and_then(|marker| marker.text("imageLayoutVersion"));
        let version = version.map_err(error)?;
        if !version.is_empty() && !version.starts_with("1.") {
            let version = version.chars().take(40).collect();
            return Err(ArchiveError::Version { archive: name.to_owned(), version }.into());
        }
        Ok(layout)
    }

    /// The layout, if it has an index at least.
    fn without_marker(self, file: &'static str) -> Result<Self, Failure> {
        const INDEX: &str = "index.json";
        if self.files.open(INDEX).is_ok() {
            return Ok(self);
        }
        let archive = self.name.clone();
        Err(match self.files.open("manifest.json") {
            Ok(_) => ArchiveError::OtherKind {
                archive,
                there: "a docker-archive's manifest.json",
                missing: INDEX,
                write: "docker-archive:",
            },
            Err(_) => ArchiveError::Kind { archive, kind: "an OCI layout", file },
        }
        .into())
    }

    /// The manifest or index that `tag` names; without a tag, the only one there. `@N` is the Nth one, the first
    /// of which is `@0`, and the beginning of a digest will do.
    pub(crate) fn top(&self, tag: Option<&str>) -> Result<Vec<u8>, Failure> {
        let json = self.read("index.json", MAX_MANIFEST_BYTES)?;
        let Parsed::Index(all) = manifest::parse(&json, &self.name)? else {
            return Err(ManifestError::Both { image: self.name.clone() }.into());
        };
        let chosen: Vec<&Entry> = match tag {
            Some(tag) => find(&all, tag),
            None => {
                let mut names: Vec<_> = all.iter().map(|entry| entry.names.first()).collect();
                names.sort();
                names.dedup();
                // Without names they may be one image for several platforms.
                if names.len() > 1 {
                    let there = list(&all);
                    return Err(ArchiveError::Several {
                        archive: self.name.clone(),
                        example: format!("{}:{}", self.name, first_word(&there)),
                        names: there.join(", "),
                    }
                    .into());
                }
                all.iter().collect()
            }
        };
        match chosen.as_slice() {
            [] => Err(ArchiveError::NoImage {
                archive: self.name.clone(),
                wanted: tag.map_or_else(|| "at all".to_owned(), |tag| format!("with tag {tag:?}")),
                there: list_names(&list(&all)),
            }
            .into()),
            [only] => self.manifest(only.target(&self.name)?),
            // The same image for several platforms.
            several => oci::choose(self, several.iter().copied(), &self.name),
        }
    }

    fn read(&self, path: &str, allowed: u64) -> Result<Vec<u8>, Failure> {
        read_small(self.files.open(path)?.1, path, &self.name, allowed)
    }
}

impl Blobs for Layout {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        let path = blob_path(&descriptor.digest);
        let json = self.read(&path, MAX_MANIFEST_BYTES)?;
        match Digest::of(&json) {
            found if found == descriptor.digest => Ok(json),
            found => {
                Err(ArchiveError::Digest { archive: self.name.clone(), file: path, found }.into())
            }
        }
    }

    fn blob(&self, descriptor: &Descriptor, _: &str) -> Result<Box<dyn Read + Send>, Failure> {
        Ok(self.files.open(&blob_path(&descriptor.digest))?.1)
    }
}

/// The entries that `tag` stands for: several where an image is there for several platforms.
fn find<'a>(all: &'a [Entry], tag: &str) -> Vec<&'a Entry> {
    let full = tag.parse::<Reference>().map(|name| name.to_string()).unwrap_or_default();
    let fits = |name: &String| name == tag || *name == full;
    let named: Vec<_> = all.iter().filter(|entry| entry.names.iter().any(fits)).collect();
    let number = tag.strip_prefix('@').and_then(|number| number.parse::<usize>().ok());
    if !named.is_empty() {
        return named;
    }
    if let Some(number) = number {
        return all.get(number).into_iter().collect();
    }
    let id = tag.strip_prefix("sha256:").unwrap_or(tag);
    let fits = |digest: Digest| is_id(id) && digest.hex().starts_with(id);
    all.iter().filter(|entry| entry.digest().is_some_and(fits)).take(1).collect()
}

/// What can be written to choose each image: its names, or its number.
fn list(all: &[Entry]) -> Vec<String> {
    let mut there = BTreeSet::new();
    for (number, entry) in all.iter().enumerate() {
        match entry.names.is_empty() {
            true => drop(there.insert(format!("@{number}"))),
            false => there.extend(entry.names.iter().cloned()),
        }
    }
    there.into_iter().collect()
}

fn first_word(there: &[String]) -> &str {
    there.first().map_or("TAG", |first| first)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a file that fits in memory.
pub(super) fn read_small(
    reader: impl Read,
    file: &str,
    archive: &str,
    allowed: u64,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    reader
        .take(allowed + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ArchiveError::Read { archive: format!("{file} of {archive}"), source })?;
    if bytes.len() as u64 > allowed {
        let (archive, file) = (archive.to_owned(), file.to_owned());
        return Err(ArchiveError::Long { archive, file, allowed }.into());
    }
    Ok(bytes)
}
