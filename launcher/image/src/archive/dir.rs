//! Folders as `skopeo copy` makes them for `dir:`: a manifest, and blobs by their digests.

use super::{
    error::ArchiveError,
    layout::{Files, read_small},
};
use crate::{
    digest::Digest,
    failure::{Failure, FailureKind},
    manifest::{Descriptor, MAX_MANIFEST_BYTES},
    oci::Blobs,
};
use std::io::Read;

const MANIFEST: &str = "manifest.json";

/// Such a folder; it has one image.
pub(crate) struct Dir {
    files: Box<dyn Files>,
    name: String,
}

impl Dir {
    /// `name` is for messages.
    pub(crate) fn new(files: Box<dyn Files>, name: &str) -> Self {
        Self { files, name: name.to_owned() }
    }

    /// The image's manifest or index.
    pub(crate) fn top(&self) -> Result<Vec<u8>, Failure> {
        self.read(MANIFEST).map_err(|failure| match failure.kind {
            FailureKind::NotFound => ArchiveError::Kind {
                archive: self.name.clone(),
                kind: "what skopeo makes for dir: (an OCI layout is oci:DIR)",
                file: MANIFEST,
            }
            .into(),
            _ => failure,
        })
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        read_small(self.files.open(path)?.1, path, &self.name, MAX_MANIFEST_BYTES)
    }
}

impl Blobs for Dir {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        let file = format!("{}.{MANIFEST}", descriptor.digest.hex());
        let json = self.read(&file)?;
        match Digest::of(&json) {
            found if found == descriptor.digest => Ok(json),
            found => Err(ArchiveError::Digest { archive: self.name.clone(), file, found }.into()),
        }
    }

    fn blob(&self, descriptor: &Descriptor, _: &str) -> Result<Box<dyn Read + Send>, Failure> {
        Ok(self.files.open(&descriptor.digest.hex())?.1)
    }
}
