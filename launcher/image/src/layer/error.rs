//! What can be wrong with a tar stream.

use crate::limits::LimitError;
use std::io;

/// Why a layer cannot be read as a tar archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error("it is larger than allowed")]
    TooLarge(#[source] LimitError),
    #[error("it ends in the middle of an entry")]
    Truncated,
    #[error("a tar header has a wrong checksum; the layer is damaged or not a tar archive")]
    Checksum,
    #[error("a lone block of zeros stands before more entries")]
    LoneZeroBlock,
    #[error("the tar header field `{0}` is not a number")]
    Number(&'static str),
    #[error("the field `{field}` is out of range: {value}")]
    OutOfRange { field: &'static str, value: String },
    #[error("the PAX header is not well formed")]
    Pax,
    #[error("a PAX header or long name is too large")]
    PaxTooLarge(#[source] LimitError),
    #[error("the extended attributes are too large")]
    Xattrs(#[source] LimitError),
    #[error(
        "the extended attribute `{0}` is longer than EROFS holds: 255 bytes of name, 65535 of value"
    )]
    XattrTooLong(String),
    #[error("the map of the sparse file is not well formed")]
    Sparse,
    #[error("the sparse file has too many runs")]
    SparseRuns(#[source] LimitError),
    #[error("the sparse file is of the unknown format {0}")]
    SparseVersion(String),
    #[error("the entry type `{0}` is not one container images have")]
    Type(String),
    #[error("the symbolic link has no usable target")]
    SymlinkTarget,
}
