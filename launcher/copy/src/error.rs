//! Why a stream is not taken.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Which limit does not suffice.
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

/// Why a stream was not taken to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The stream cannot be read.
    #[error("cannot read the stream")]
    Read(#[source] io::Error),
    /// The stream ends before it says so.
    #[error("the stream ends early")]
    Ended,
    /// It does not begin with this version's preamble.
    #[error("the other side has another version of launch; restart the app")]
    Version,
    /// A record that makes no sense here.
    #[error("the stream is not valid: {0}")]
    Invalid(&'static str),
    /// Larger than allowed.
    #[error("{} has {limit}", name(.path))]
    Limit {
        /// At which entry it was found.
        path: PathBuf,
        /// What does not suffice.
        limit: Limit,
    },
    /// An entry cannot be written.
    #[error("cannot write {}", name(.path))]
    Write {
        /// The entry, below the top one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How an entry below the top one is called in an error.
pub(crate) fn name(path: &Path) -> String {
    match path.as_os_str().is_empty() {
        true => "the copy".into(),
        false => path.display().to_string(),
    }
}
