//! OCI image layouts: `index.json` and blobs by digest, in a folder or in a tar.

use super::{
    error::{ArchiveError, list_names},
    index::TarIndex,
};
use crate::{
    digest::Digest,
    failure::{Failure, FailureKind},
    host::Host,
    manifest::{self, Descriptor, MAX_MANIFEST_BYTES, ManifestError, Parsed},
    oci::Blobs,
};
use serde::Deserialize;
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// `name` is for messages.
    pub(crate) fn open(files: Box<dyn Files>, name: &str) -> Result<Self, Failure> {
        let layout = Self { files, name: name.to_owned() };
        let file = "oci-layout";
        let json = layout.read(file, 4096).map_err(|failure| match failure.kind {
            FailureKind::NotFound => {
                ArchiveError::Kind { archive: name.to_owned(), kind: "an OCI layout", file }.into()
            }
            _ => failure,
        })?;
        let marker: Marker = serde_json::from_slice(&json)
            .map_err(|source| ArchiveError::Json { archive: name.to_owned(), file, source })?;
        let version = marker.image_layout_version;
        if !version.starts_with("1.") {
            let version = version.chars().take(40).collect();
            return Err(ArchiveError::Version { archive: name.to_owned(), version }.into());
        }
        Ok(layout)
    }

    /// The manifest or index that `tag` names; without a tag, the only one there.
    pub(crate) fn top(&self, tag: Option<&str>) -> Result<Vec<u8>, Failure> {
        let json = self.read("index.json", MAX_MANIFEST_BYTES)?;
        let Parsed::Index(all) = manifest::parse(&json, &self.name)? else {
            return Err(ManifestError::Both { image: self.name.clone() }.into());
        };
        let names: BTreeSet<String> =
            all.iter().flat_map(Descriptor::names).map(str::to_owned).collect();
        let names: Vec<String> = names.into_iter().collect();
        let chosen: Vec<Descriptor> = match tag {
            Some(tag) => {
                let named = |entry: &&Descriptor| entry.names().any(|name| name == tag);
                all.iter().filter(named).cloned().collect()
            }
            None => {
                let tags: BTreeSet<_> = all.iter().map(|entry| entry.names().next()).collect();
                if tags.len() > 1 {
                    return Err(ArchiveError::Several {
                        archive: self.name.clone(),
                        example: format!("{}:{}", self.name, names.first().map_or("TAG", |n| n)),
                        names: names.join(", "),
                    }
                    .into());
                }
                all
            }
        };
        match chosen.as_slice() {
            [] => Err(ArchiveError::NoImage {
                archive: self.name.clone(),
                wanted: tag.map_or_else(|| "at all".to_owned(), |tag| format!("with tag {tag:?}")),
                there: list_names(&names),
            }
            .into()),
            [only] => self.manifest(only),
            // The same image for several platforms.
            several => self.manifest(&manifest::select(several, &self.name)?),
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
