//! What can be wrong with an entry's place in the tree.

use crate::limits::LimitError;

/// Why an entry cannot be put where its name says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    #[error("`{0}` on its path is a symbolic link that leads round in a circle")]
    SymlinkLoop(String),
    #[error("`{0}` on its path is not a directory")]
    NotADirectory(String),
    #[error("its directories are nested too deep")]
    TooDeep(#[source] LimitError),
    #[error("finding the places of the image's files takes too long")]
    TooManySteps(#[source] LimitError),
    #[error("the image's names and attributes take too much memory")]
    TooMuchMetadata(#[from] LimitError),
    #[error("the target `{0}` of the hard link does not exist")]
    LinkTargetMissing(String),
    #[error("the target `{0}` of the hard link is a directory")]
    LinkToDirectory(String),
    #[error("the hard link points to itself")]
    LinkToItself,
    #[error("the root of the image can only be a directory")]
    RootNotADirectory,
}
