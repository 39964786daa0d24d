//! One entry of a tar archive, its header and extensions put together.

use super::number::parse_field;
use super::pax::Pax;
use super::{ArchiveError, SparseMap};
use crate::tree::{Attributes, Time};
use tar::Header;

/// The longest symbolic link Linux can hold.
const MAX_SYMLINK_BYTES: usize = 4095;

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File(Option<SparseMap>),
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// An entry; the contents of a file are read from the archive after it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) attributes: Attributes,
    /// Bytes of data in the archive.
    pub(crate) data_bytes: u64,
}

/// What stands before an entry and belongs to it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) pax: Pax,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
}

impl Entry {
    /// Puts the parts together. The kind of a sparse file is completed by the archive.
    pub(super) fn build(header: &Header, extensions: Extensions) -> Result<Self, ArchiveError> {
        let Extensions { pax, long_name, long_link } = extensions;
        // As Docker's parser: GNU's long name counts most, then PAX, then the header.
        let name = long_name
            .or(pax.sparse.name)
            .or(pax.path)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || {
            long_link.or(pax.link_path).unwrap_or_else(|| field(&header.as_old().linkname).to_vec())
        };
        // The raw byte: the crate takes the oldest form, NUL, for a plain file.
        let kind = match header.as_old().linkflag[0] {
            // The oldest tars mark a directory by a slash only.
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File(None),
            b'1' => Kind::HardLink(link()),
            b'2' => {
                let target = link();
                if target.is_empty() || target.len() > MAX_SYMLINK_BYTES || target.contains(&0) {
                    return Err(ArchiveError::SymlinkTarget);
                }
                Kind::Symlink(target)
            }
            b'3' => {
                let (major, minor) = device(header)?;
                Kind::CharDevice { major, minor }
            }
            b'4' => {
                let (major, minor) = device(header)?;
                Kind::BlockDevice { major, minor }
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(ArchiveError::Type(other.escape_ascii().to_string())),
        };
        // Writers put sizes on links and directories; readers agree that no data follows.
        let data_bytes = match (&kind, pax.size) {
            (Kind::File(_), Some(size)) => size,
            (Kind::File(_), None) => size(header)?,
            _ => 0,
        };
        let old = header.as_old();
        let mode = parse_field("mode", &old.mode)? & 0o7777;
        let mtime = match pax.mtime {
            Some(time) => time,
            None => Time { seconds: parse_field("mtime", &old.mtime)?, nanoseconds: 0 },
        };
        let attributes = Attributes {
            mode: u16::try_from(mode).unwrap_or_default(),
            uid: owner("uid", pax.uid, &old.uid)?,
            gid: owner("gid", pax.gid, &old.gid)?,
            mtime,
            xattrs: pax.xattrs,
        };
        Ok(Self { name, kind, attributes, data_bytes })
    }
}

/// The size a header states.
pub(super) fn size(header: &Header) -> Result<u64, ArchiveError> {
    let size = parse_field("size", &header.as_old().size)?;
    u64::try_from(size).map_err(|_| ArchiveError::Number("size"))
}

/// A text field up to its NUL; a full field has none.
fn field(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len())]
}

fn owner(name: &'static str, pax: Option<u64>, raw: &[u8]) -> Result<u32, ArchiveError> {
    let value = match pax {
        Some(id) => i128::from(id),
        None => i128::from(parse_field(name, raw)?),
    };
    // Linux has no owner 2^32 - 1: it means "leave as it is".
    u32::try_from(value)
        .ok()
        .filter(|&id| id != u32::MAX)
        .ok_or(ArchiveError::OutOfRange { field: name, value: value.to_string() })
}

/// Device numbers stand behind the names in both header forms that have them.
fn device(header: &Header) -> Result<(u32, u32), ArchiveError> {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (ustar.dev_major, ustar.dev_minor),
        (None, Some(gnu)) => (gnu.dev_major, gnu.dev_minor),
        (None, None) => return Ok((0, 0)),
    };
    let number = |field, raw: &[u8], most: u32| {
        let value = parse_field(field, raw)?;
        u32::try_from(value)
            .ok()
            .filter(|&n| n <= most)
            .ok_or(ArchiveError::OutOfRange { field, value: value.to_string() })
    };
    // Linux: 12 bits of major, 20 of minor (include/linux/kdev_t.h).
    Ok((number("devmajor", &major, 0xfff)?, number("devminor", &minor, 0xf_ffff)?))
}
