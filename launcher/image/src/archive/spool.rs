//! An archive that has to be read to and fro: one that is compressed or comes through a pipe is first written to a
//! file that goes with this process.

use super::error::ArchiveError;
use crate::{
    failure::Failure,
    layers::Compression,
    limits::{LimitError, Limits},
};
use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
};

/// `archive` itself, or a plain copy of it in the file that `scratch` gives.
pub(crate) fn seekable(
    mut archive: File,
    name: &str,
    limits: &Limits,
    scratch: impl FnOnce() -> io::Result<File>,
) -> Result<File, Failure> {
    let read_error = |source| ArchiveError::Read { archive: name.to_owned(), source };
    let mut head = Vec::new();
    let is_file = archive.metadata().map_err(read_error)?.is_file();
    (&mut archive).take(6).read_to_end(&mut head).map_err(read_error)?;
    let method = Compression::of(&head);
    if is_file && method == Compression::None {
        return Ok(archive);
    }
    let stored = BufReader::with_capacity(256 << 10, Cursor::new(head).chain(archive));
    let mut plain: Box<dyn Read> = match method {
        Compression::None => Box::new(stored),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stored)),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(stored).map_err(read_error)?)
        }
        Compression::Unknown(method) => {
            return Err(ArchiveError::Compressed { archive: name.to_owned(), method }.into());
        }
    };
    let mut file =
        scratch().map_err(|error| Failure::from_io(error, "make room for the archive"))?;
    let allowed = limits.max_disk_bytes;
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let count = match plain.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(error).into()),
        };
        bytes += count as u64;
        LimitError::check("max_disk_bytes", bytes, allowed)
            .map_err(|source| ArchiveError::Unpacked { archive: name.to_owned(), source })?;
        io::Write::write_all(&mut file, &buffer[..count])
            .map_err(|error| Failure::from_io(error, "write the archive"))?;
    }
}
