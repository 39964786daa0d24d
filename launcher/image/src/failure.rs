//! Failures of the fetching child: what kind, and one line for the user.

use serde::{Deserialize, Serialize};
use std::{error::Error, fmt, io};

/// Kinds of failures, for callers that act on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// No such image, file, tag or digest.
    NotFound,
    /// The registry wants other credentials.
    Denied,
    /// The registry cannot be reached or does not work.
    Unreachable,
    /// Contents do not have the digest or the size they should have.
    Mismatch,
    /// The image is for another architecture or system.
    Platform,
    /// No space left for the disk.
    DiskFull,
    /// The image breaks the rules or a limit.
    Image,
    /// Anything else.
    Other,
}

/// Any error of the child, with its kind told at once.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// One line: object, value, cause, next step.
    pub(crate) message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Failure {}

impl Failure {
    pub(crate) fn new(kind: FailureKind, error: &(dyn Error + 'static)) -> Self {
        Self { kind, message: one_line(error) }
    }

    /// The failure that a reader carried, or the I/O error itself as one of `image`.
    pub(crate) fn from_io(error: io::Error, action: &str) -> Self {
        let kind = if is_full(&error) { FailureKind::DiskFull } else { FailureKind::Other };
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self { kind, message: format!("cannot {action}: {}", plain(&error)) },
        }
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error and its causes on one line, without repeating a cause that the line already contains.
fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.downcast_ref().map_or_else(|| error.to_string(), plain);
        if !line.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        next = error.source();
    }
    line
}

/// An I/O error in lower case and without Rust's `(os error 2)`.
pub(crate) fn plain(error: &io::Error) -> String {
    // zstd's messages arrive as errors without a kind.
    let no_memory = error.kind() == io::ErrorKind::OutOfMemory
        || error.to_string().contains("Allocation error");
    if no_memory {
        return "no memory left; raise max_memory_bytes under [image.limits] if you trust the image"
            .to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_a_reader() {
        let inner = Failure { kind: FailureKind::Unreachable, message: "down".into() };
        let outer = Failure::from_io(io::Error::other(inner), "read a layer");
        assert_eq!((outer.kind, outer.message.as_str()), (FailureKind::Unreachable, "down"));
    }
}
