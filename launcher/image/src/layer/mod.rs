//! One layer: a tar stream to entries, as Docker's own parser reads it.
//!
//! The `tar` crate gives the fields of a header block. The framing around them is ours, because
//! the crate's own iterator reads PAX headers of any size into memory, splits PAX records at newlines
//! (which cuts binary attributes such as file capabilities), does not know PAX sparse files, and
//! takes a size only from where the header says.

mod archive;
mod entry;
mod error;
mod metered;
mod number;
mod pax;
mod sparse;

pub(crate) use archive::Archive;
pub(crate) use entry::{Entry, Kind};
pub(crate) use error::ArchiveError;
pub(crate) use sparse::SparseMap;
