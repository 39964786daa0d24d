//! Layers in, one guest disk out.

use crate::erofs::{DataArea, DataError, MetadataError, write_metadata};
use crate::failure::{Failure, FailureKind, is_full};
use crate::layer::{Archive, ArchiveError, Entry, Kind};
use crate::limits::{LimitError, Limits};
use crate::tree::{Node, PathError, Tree, TreeError, components};
use std::fs::File;
use std::io::{self, Read};

/// Makes one read-only guest disk of the layers of an image.
///
/// Layers are uncompressed tar streams, applied from the bottom up. Contents go straight to their
/// place on the disk; memory holds names and attributes only. Equal layers give equal bytes.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let layers: Vec<std::fs::File> = Vec::new();
/// let disk = std::fs::File::create("disk.erofs")?;
/// let mut converter = image::Converter::new(disk, &image::Limits::default())?;
/// for layer in layers {
///     converter.apply_layer(layer)?;
/// }
/// let disk = converter.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Converter {
    tree: Tree,
    data: DataArea,
    limits: Limits,
    layers: usize,
    entries: u64,
    /// Uncompressed bytes of the layers so far.
    bytes: u64,
    failed: bool,
}

/// Sizes of a finished guest disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disk {
    /// Length of the disk in bytes, a multiple of 4096; holes of the file count.
    pub bytes: u64,
    /// Files of all kinds, each hard-linked file once.
    pub inodes: u64,
}

/// Why layers could not be made into a guest disk.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The disk file does not take data.
    #[error("cannot write the guest disk")]
    Write(#[source] io::Error),
    /// The layer cannot be read or is not a good tar archive.
    #[error("cannot read layer {layer} of the image{entry}")]
    Layer {
        /// The layer's number, the lowest is 1.
        layer: usize,
        /// The last entry read before, as ` after NAME`, or nothing.
        entry: String,
        /// What is wrong.
        #[source]
        source: LayerError,
    },
    /// An entry does not fit into the tree, or goes past a limit.
    #[error("bad entry `{name}` in layer {layer} of the image")]
    Entry {
        /// The layer's number, the lowest is 1.
        layer: usize,
        /// The entry's name.
        name: String,
        /// What is wrong.
        #[source]
        source: LayerError,
    },
    /// The finished disk is too large.
    #[error("the guest disk is too large")]
    TooLarge(#[source] LimitError),
    /// A layer failed before; the disk is unusable.
    #[error("an earlier layer of the image failed")]
    Failed,
}

/// What is wrong with a layer or an entry of one.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LayerError(Problem);

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("its name is too long")]
    LongPath(#[source] LimitError),
    #[error("the image has too many entries")]
    Entries(#[source] LimitError),
    #[error("the disk gets too large")]
    Disk(#[source] LimitError),
    #[error("a whiteout names no file")]
    Whiteout,
    #[error("a part of its path starts with `.wh.`, as only whiteouts do")]
    BelowWhiteout,
    #[error("the guest disk cannot be written")]
    Write(#[source] io::Error),
}

/// Names with this start hide a file of a lower layer.
const WHITEOUT: &[u8] = b".wh.";
/// Hides all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names with this start are notes of aufs, to itself.
const AUFS: &[u8] = b".wh..wh.";

impl Converter {
    /// Starts a disk in `out`, an open file for reading and writing; what it holds is dropped.
    ///
    /// The file is not synced; the caller does that before giving it its name.
    ///
    /// # Errors
    /// [`ConvertError::Write`] when the file cannot be emptied.
    pub fn new(out: File, limits: &Limits) -> Result<Self, ConvertError> {
        Ok(Self {
            tree: Tree::new(limits),
            data: DataArea::new(out, limits).map_err(ConvertError::Write)?,
            limits: limits.clone(),
            layers: 0,
            entries: 0,
            bytes: 0,
            failed: false,
        })
    }

    /// Applies the next layer, an uncompressed tar stream, and reads it to its end.
    ///
    /// # Errors
    /// [`ConvertError`]; the converter cannot be used after one.
    pub fn apply_layer(&mut self, layer: impl Read) -> Result<(), ConvertError> {
        if self.failed {
            return Err(ConvertError::Failed);
        }
        self.layers += 1;
        self.tree.begin_layer();
        let result = self.apply_entries(layer);
        self.failed = result.is_err();
        result
    }

    /// Writes the metadata and returns the finished disk's sizes.
    ///
    /// # Errors
    /// [`ConvertError`], also when a layer failed before.
    pub fn finish(self) -> Result<Disk, ConvertError> {
        if self.failed {
            return Err(ConvertError::Failed);
        }
        let (disk, first) = self.data.finish().map_err(ConvertError::Write)?;
        let written = write_metadata(&self.tree, &disk, first, self.limits.max_disk_bytes)
            .map_err(|error| match error {
                MetadataError::Write(error) => ConvertError::Write(error),
                MetadataError::Limit(error) => ConvertError::TooLarge(error),
            })?;
        Ok(Disk { bytes: written.blocks * 4096, inodes: written.inodes })
    }

    fn apply_entries(&mut self, layer: impl Read) -> Result<(), ConvertError> {
        let limits = self.limits.clone();
        let mut archive = Archive::new(layer, &limits, self.bytes);
        let mut last = String::new();
        loop {
            let entry = match archive.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    self.bytes += archive.bytes();
                    return Ok(());
                }
                Err(error) => {
                    let entry = if last.is_empty() { last } else { format!(" after `{last}`") };
                    let source = LayerError(error.into());
                    return Err(ConvertError::Layer { layer: self.layers, entry, source });
                }
            };
            let name = entry.name.clone();
            self.apply(entry, &mut archive).map_err(|problem| match problem {
                Problem::Write(error) => ConvertError::Write(error),
                problem => ConvertError::Entry {
                    layer: self.layers,
                    name: show(&name),
                    source: LayerError(problem),
                },
            })?;
            last = show(&name);
        }
    }

    fn apply<R: Read>(
        &mut self,
        entry: Entry,
        archive: &mut Archive<'_, R>,
    ) -> Result<(), Problem> {
        self.entries += 1;
        LimitError::check("max_entries", self.entries, self.limits.max_entries)
            .map_err(Problem::Entries)?;
        let most = u64::from(self.limits.max_path_bytes);
        LimitError::check("max_path_bytes", entry.name.len() as u64, most)
            .map_err(Problem::LongPath)?;
        let path = components(&entry.name)?;
        let Some((&name, parents)) = path.split_last() else {
            return match entry.kind {
                Kind::Directory => Ok(self.tree.set_root(entry.attributes)?),
                _ => Err(TreeError::RootNotADirectory.into()),
            };
        };
        if parents.iter().chain([&name]).any(|part| part.starts_with(AUFS) && *part != OPAQUE) {
            return Ok(());
        }
        if parents.iter().any(|part| part.starts_with(WHITEOUT)) {
            return Err(Problem::BelowWhiteout);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.apply_whiteout(parents, name, hidden);
        }
        let parent = self.tree.make_directories(parents)?;
        let node = match entry.kind {
            Kind::Directory => {
                return Ok(self.tree.put_directory(parent, name, entry.attributes)?);
            }
            Kind::HardLink(target) => {
                let target = components(&target)?;
                self.tree.put_hard_link(parent, name, &target)?;
                self.reclaim();
                return Ok(());
            }
            Kind::File(map) => {
                // First, so that the new contents may reuse the space of the old ones.
                self.tree.remove(parent, name);
                self.reclaim();
                let read = |buffer: &mut [u8]| match archive.read_data(buffer) {
                    Ok(0) => Err(ArchiveError::Truncated),
                    result => result,
                };
                let stored = match map {
                    None => self.data.store(entry.data_bytes, read),
                    Some(map) => self.data.store_sparse(&map, read),
                };
                Node::File(stored.map_err(|error| match error {
                    DataError::Read(error) => Problem::Archive(error),
                    DataError::Write(error) => Problem::Write(error),
                    DataError::Limit(error) => Problem::Disk(error),
                })?)
            }
            Kind::Symlink(target) => Node::Symlink(target.into()),
            Kind::CharDevice { major, minor } => Node::CharDevice { major, minor },
            Kind::BlockDevice { major, minor } => Node::BlockDevice { major, minor },
            Kind::Fifo => Node::Fifo,
        };
        self.tree.put(parent, name, node, entry.attributes)?;
        self.reclaim();
        Ok(())
    }

    fn apply_whiteout(
        &mut self,
        parents: &[&[u8]],
        name: &[u8],
        hidden: &[u8],
    ) -> Result<(), Problem> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Problem::Whiteout);
        }
        // Nothing is hidden below a missing directory or a file, and a marker never makes one.
        let parent = match self.tree.find_directory(parents) {
            Err(TreeError::NotADirectory(_)) => None,
            found => found?,
        };
        if let Some(parent) = parent {
            if name == OPAQUE {
                self.tree.make_opaque(parent)?;
            } else {
                self.tree.white_out(parent, hidden)?;
            }
            self.reclaim();
        }
        Ok(())
    }

    fn reclaim(&mut self) {
        for extent in self.tree.take_freed() {
            self.data.free(extent);
        }
    }
}

/// A name for a message, however odd or long.
fn show(name: &[u8]) -> String {
    const MOST: usize = 200;
    let shown = name[..name.len().min(MOST)].escape_ascii();
    if name.len() > MOST { format!("{shown}...") } else { shown.to_string() }
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        let kind = match &error {
            ConvertError::Write(error) if is_full(error) => FailureKind::DiskFull,
            ConvertError::Write(_) => FailureKind::Other,
            _ => FailureKind::Image,
        };
        Self::new(kind, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_full_disk_is_told_from_other_errors_through_the_converter() {
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        let failure = Failure::from(ConvertError::Write(full));
        assert_eq!(failure.kind, FailureKind::DiskFull);
        assert!(failure.message.ends_with(": no space left on device"), "{failure}");
    }
}
