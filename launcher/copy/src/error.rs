//! Why a stream was not read to its end.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// [`crate::Limits::bytes`].
    Bytes(u64),
    /// [`crate::Limits::entries`].
    Entries(u64),
    /// [`crate::Limits::depth`].
    Depth(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(most) => write!(f, "more than {most} bytes; --max-size allows more"),
            Self::Entries(most) => {
                write!(f, "more than {most} files and folders; --max-entries allows more")
            }
            Self::Depth(most) => {
                write!(f, "folders more than {most} deep; --max-depth allows more")
            }
        }
    }
}

/// Why a stream was not read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The stream cannot be read.
    #[error("cannot read the stream")]
    Read(#[source] io::Error),
    /// The stream ends without an end record.
    #[error("the stream ends early")]
    Ended,
    /// The stream does not begin with this version's preamble.
    #[error("the other side has another version of launch; restart the app")]
    Version,
    /// A record is invalid at this place.
    #[error("the stream is not valid: {0}")]
    Invalid(&'static str),
    /// The stream exceeds a limit.
    #[error("{} has {limit}", name(.path))]
    Limit {
        /// The entry at which the limit was exceeded.
        path: PathBuf,
        /// The limit.
        limit: Limit,
    },
    /// An entry cannot be written.
    #[error("cannot write {}", name(.path))]
    Write {
        /// The entry, as a path below the top entry.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The name of an entry in an error, from its path below the top entry.
pub(crate) fn name(path: &Path) -> String {
    match path.as_os_str().is_empty() {
        true => "the copy".into(),
        false => path.display().to_string(),
    }
}
