//! What is wrong with an archive or a layout.

use crate::{
    digest::Digest,
    failure::{Failure, FailureKind},
    json::JsonError,
    limits::LimitError,
};
use std::io;

/// What is wrong with an archive or a layout.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot read {archive}")]
    Read { archive: String, source: io::Error },
    #[error("{archive} is not a tar archive, or a damaged one")]
    NotTar { archive: String, source: io::Error },
    #[error("{archive} is compressed with {method}; decompress it first")]
    Compressed { archive: String, method: &'static str },
    #[error("{archive} is too large when it is decompressed")]
    Unpacked { archive: String, source: LimitError },
    #[error("{archive} is not {kind}: it has no {file}")]
    Kind { archive: String, kind: &'static str, file: &'static str },
    #[error("{archive} has {there} and no {missing}; write {write} in place of its prefix")]
    OtherKind { archive: String, there: &'static str, missing: &'static str, write: &'static str },
    #[error("{archive} has more than {allowed} entries")]
    Entries { archive: String, allowed: usize },
    #[error("{file} of {archive} is not there")]
    NoFile { archive: String, file: String },
    #[error("{file} of {archive} is longer than {allowed} bytes")]
    Long { archive: String, file: String, allowed: u64 },
    #[error("{file} of {archive} is not valid")]
    Json { archive: String, file: &'static str, source: JsonError },
    #[error("{archive} has OCI layout version {version:?}; only 1.x is known")]
    Version { archive: String, version: String },
    #[error("{archive} has no image {wanted}; there {there}")]
    NoImage { archive: String, wanted: String, there: String },
    #[error("{archive} has several images; name one, as in {example}: {names}")]
    Several { archive: String, example: String, names: String },
    #[error("{file} of {archive} has digest {found}")]
    Digest { archive: String, file: String, found: Digest },
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let kind = match error {
            ArchiveError::NoImage { .. } | ArchiveError::NoFile { .. } => FailureKind::NotFound,
            ArchiveError::Several { .. } => FailureKind::Other,
            ArchiveError::Digest { .. } => FailureKind::Mismatch,
            _ => FailureKind::Image,
        };
        Self::new(kind, &error)
    }
}

/// For messages: what images are there.
pub(super) fn list_names(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    match names.len() {
        0 => "are no names".to_owned(),
        1 => format!("is {text}"),
        _ => format!("are {text}"),
    }
}
