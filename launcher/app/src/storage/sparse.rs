//! Copies sparse files without their holes, and compares a copy with its original.

use rustix::fs::{SeekFrom, copy_file_range, seek};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A power cut loses data in blocks of at least this many bytes.
const SECTOR: usize = 512;
const CHUNK: usize = 16 << 10;

/// How a copy compares with its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// The same as the original.
    Same,
    /// The copy holds parts of the original, and zeros for the rest.
    Part,
    /// The copy holds data that the original does not.
    Other,
}

/// Copies a file to a new file, without the holes.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let from = File::open(from)?;
    let length = from.metadata()?.len();
    let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    to.set_len(length)?;
    for_each_extent(&from, length, |mut read_at, end| {
        let mut write_at = read_at;
        while read_at < end {
            let left = usize::try_from(end - read_at).unwrap_or(usize::MAX);
            if copy_file_range(&from, Some(&mut read_at), &to, Some(&mut write_at), left)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(true)
    })
}

/// Compares a copy with its original. Without an original, compares the copy with zeros, and never returns
/// [`Likeness::Same`].
pub(crate) fn compare(copy: &File, original: Option<&File>) -> io::Result<Likeness> {
    let length = copy.metadata()?.len();
    let mut other = false;
    let mut same = true;
    // First checks that all data of the copy comes from the original.
    for_each_extent(copy, length, |start, end| {
        for_each_sector(copy, original, start, end, |found, expected| {
            same &= found == expected;
            other = found != expected && found.iter().any(|byte| *byte != 0);
            !other
        })
    })?;
    if other {
        return Ok(Likeness::Other);
    }
    // Then checks that all data of the original is in the copy.
    let Some(original) = original else { return Ok(Likeness::Part) };
    let full = original.metadata()?.len();
    same &= length == full;
    for_each_extent(original, full, |start, end| {
        for_each_sector(copy, Some(original), start, end, |found, expected| {
            same &= found == expected;
            same
        })
    })?;
    Ok(if same { Likeness::Same } else { Likeness::Part })
}

/// Calls `act` with start and end of each extent that is not a hole, until `act` returns `false`.
fn for_each_extent(
    file: &File,
    length: u64,
    mut act: impl FnMut(u64, u64) -> io::Result<bool>,
) -> io::Result<()> {
    let mut position = 0;
    while position < length {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            // Only holes follow.
            Err(rustix::io::Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        position = seek(file, SeekFrom::Hole(start))?;
        if !act(start, position)? {
            break;
        }
    }
    Ok(())
}

/// Calls `act` with each pair of sectors from `start` to `end` until `act` returns `false`, and then returns `false`
/// too. A missing sector counts as zeros.
fn for_each_sector(
    copy: &File,
    original: Option<&File>,
    start: u64,
    end: u64,
    mut act: impl FnMut(&[u8], &[u8]) -> bool,
) -> io::Result<bool> {
    let (mut found, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut position = start;
    while position < end {
        let size = usize::try_from(end - position).unwrap_or(CHUNK).min(CHUNK);
        read_padded(copy, &mut found[..size], position)?;
        if let Some(original) = original {
            read_padded(original, &mut expected[..size], position)?;
        }
        let sectors = found[..size].chunks(SECTOR).zip(expected[..size].chunks(SECTOR));
        for (found, expected) in sectors {
            if !act(found, expected) {
                return Ok(false);
            }
        }
        position += size as u64;
    }
    Ok(true)
}

/// Reads from `position` on; fills with zeros beyond the file's end.
fn read_padded(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[filled..].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn data_and_holes_are_copied_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(10 << 20).unwrap();
        file.write_all_at(b"data", 5 << 20).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_copy_never_overwrites_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(copy(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"old");
    }
}
