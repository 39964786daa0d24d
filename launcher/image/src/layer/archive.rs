//! The framing of a tar stream: blocks, extension headers, data and its padding.

use super::ArchiveError;
use super::entry::{Entry, Extensions, Kind, size};
use super::metered::Metered;
use super::pax::Pax;
use super::sparse::{Form, SparseMap, parse_slots};
use crate::limits::{LimitError, Limits};
use std::io::{BufRead, BufReader, Read};
use tar::Header;

const BLOCK: usize = 512;
/// Large enough that an inflating reader below works in long strides.
const BUFFER_BYTES: usize = 256 << 10;

/// A tar archive being read.
pub(crate) struct Archive<'a, R> {
    input: BufReader<Metered<R>>,
    limits: &'a Limits,
    /// The limit that ends the stream.
    most: LimitError,
    /// Data of the current entry not read yet, and the padding behind it.
    data_left: u64,
    padding: u64,
    finished: bool,
}

impl<'a, R: Read> Archive<'a, R> {
    /// Reads `input`, the next layer of an image whose lower layers have `before` bytes.
    pub(crate) fn new(input: R, limits: &'a Limits, before: u64) -> Self {
        let left = limits.max_image_bytes.saturating_sub(before);
        let most = match left < limits.max_layer_bytes {
            true => LimitError { name: "max_image_bytes", allowed: limits.max_image_bytes },
            false => LimitError { name: "max_layer_bytes", allowed: limits.max_layer_bytes },
        };
        let input = Metered::new(input, limits.max_layer_bytes.min(left));
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            limits,
            most,
            data_left: 0,
            padding: 0,
            finished: false,
        }
    }

    /// The next entry, or `None` at the end of the archive.
    ///
    /// As for Docker's parser an archive ends at two blocks of zeros or where the stream ends
    /// between entries. What follows is read to its end and ignored, so that a digest taken on
    /// the way covers the whole layer.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extensions = Extensions::default();
        let mut pending = false;
        loop {
            self.skip_data()?;
            let Some(block) = self.next_header()? else {
                // An extension without its entry means the rest is missing.
                return if pending { Err(ArchiveError::Truncated) } else { Ok(None) };
            };
            let header = Header::from_byte_slice(&block);
            match header.as_old().linkflag[0] {
                b'x' => {
                    let data = self.read_extension(header)?;
                    extensions.pax = Pax::parse(&data, self.limits)?;
                    pending = true;
                }
                // Global headers are comments in practice; container engines ignore them too.
                b'g' => self.set_data(size(header)?)?,
                b'L' => {
                    extensions.long_name = Some(up_to_nul(self.read_extension(header)?));
                    pending = true;
                }
                b'K' => {
                    extensions.long_link = Some(up_to_nul(self.read_extension(header)?));
                    pending = true;
                }
                _ => return self.build_entry(header, extensions).map(Some),
            }
        }
    }

    /// Reads the current entry's data; 0 at its end.
    pub(crate) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let most = usize::try_from(self.data_left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        loop {
            match self.input.read(&mut buffer[..most]) {
                Ok(0) => return Err(ArchiveError::Truncated),
                Ok(count) => {
                    self.data_left -= count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    fn build_entry(
        &mut self,
        header: &Header,
        mut extensions: Extensions,
    ) -> Result<Entry, ArchiveError> {
        let mut sparse = std::mem::take(&mut extensions.pax.sparse);
        extensions.pax.sparse.name.clone_from(&sparse.name);
        let mut entry = Entry::build(header, extensions)?;
        if !matches!(entry.kind, Kind::File(_)) {
            self.set_data(entry.data_bytes)?;
            return Ok(entry);
        }
        let map = if header.as_old().linkflag[0] == b'S' {
            Some(self.read_old_sparse(header, entry.data_bytes)?)
        } else {
            self.set_data(entry.data_bytes)?;
            match sparse.form()? {
                Form::NotSparse => None,
                Form::InHeader => Some(sparse.map(entry.data_bytes, self.limits)?),
                Form::BeforeData => {
                    let limits = self.limits;
                    let map = sparse
                        .map_before_data(entry.data_bytes, limits, || self.read_data_block())?;
                    entry.data_bytes = self.data_left;
                    Some(map)
                }
            }
        };
        entry.kind = Kind::File(map);
        Ok(entry)
    }

    /// The map of an old GNU sparse file, part of it in blocks that no size counts.
    fn read_old_sparse(
        &mut self,
        header: &Header,
        data_bytes: u64,
    ) -> Result<SparseMap, ArchiveError> {
        // Offsets of `sparse`, `isextended` and `realsize`: GNU tar manual, "Basic Tar Format".
        let bytes = header.as_bytes();
        let real = super::number::parse_field("realsize", &bytes[483..495])?;
        let real = u64::try_from(real).map_err(|_| ArchiveError::Sparse)?;
        let mut runs = Vec::new();
        parse_slots(&bytes[386..482], &mut runs, self.limits)?;
        let mut extended = bytes[482] != 0;
        while extended {
            let block = self.read_block()?.ok_or(ArchiveError::Truncated)?;
            let before = runs.len();
            parse_slots(&block[..504], &mut runs, self.limits)?;
            // A block without runs that asks for another could go on for ever.
            extended = block[504] != 0 && runs.len() > before;
        }
        self.set_data(data_bytes)?;
        SparseMap::checked(real, runs, data_bytes)
    }

    /// The data of an extension header, which is held in memory and so capped.
    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let bytes = size(header)?;
        LimitError::check("max_pax_bytes", bytes, self.limits.max_pax_bytes)
            .map_err(ArchiveError::PaxTooLarge)?;
        self.set_data(bytes)?;
        let mut data = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.read_data(&mut chunk)? {
                0 => return Ok(data),
                count => data.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// The next header block with its checksum verified, or `None` at the end.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        if self.finished {
            return Ok(None);
        }
        let block = self.read_block()?;
        match block {
            Some(block) if block != [0; BLOCK] => {
                check_sum(&block)?;
                return Ok(Some(block));
            }
            Some(_) => match self.read_block()? {
                Some(second) if second != [0; BLOCK] => return Err(ArchiveError::LoneZeroBlock),
                Some(_) => self.drain()?,
                None => {}
            },
            None => {}
        }
        self.finished = true;
        Ok(None)
    }

    fn set_data(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.padding =
            bytes.checked_next_multiple_of(512).ok_or(ArchiveError::Number("size"))? - bytes;
        self.data_left = bytes;
        Ok(())
    }

    /// A whole block, or `None` when the stream ends right before it.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ArchiveError::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
        Ok(Some(block))
    }

    /// A block that is part of the current entry's data.
    fn read_data_block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read_data(&mut block[filled..])? {
                0 => return Err(ArchiveError::Sparse),
                count => filled += count,
            }
        }
        Ok(block)
    }

    fn skip_data(&mut self) -> Result<(), ArchiveError> {
        let mut left = self.data_left + self.padding;
        while left > 0 {
            let got = self.fill()?;
            if got == 0 {
                return Err(ArchiveError::Truncated);
            }
            let used = usize::try_from(left).unwrap_or(usize::MAX).min(got);
            self.input.consume(used);
            left -= used as u64;
        }
        self.data_left = 0;
        self.padding = 0;
        Ok(())
    }

    fn drain(&mut self) -> Result<(), ArchiveError> {
        loop {
            match self.fill()? {
                0 => return Ok(()),
                count => self.input.consume(count),
            }
        }
    }

    fn fill(&mut self) -> Result<usize, ArchiveError> {
        loop {
            match self.input.fill_buf() {
                Ok(data) => return Ok(data.len()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// Bytes of the layer read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.input.get_ref().passed
    }

    fn read_error(&self, error: std::io::Error) -> ArchiveError {
        if self.input.get_ref().exceeded {
            return ArchiveError::TooLarge(self.most.clone());
        }
        ArchiveError::Read(error)
    }
}

/// Holds the header's checksum against its bytes; old writers summed signed ones.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), ArchiveError> {
    let stated = super::number::parse_field("checksum", &block[148..156])
        .map_err(|_| ArchiveError::Checksum)?;
    let mut unsigned = 0_i64;
    let mut signed = 0_i64;
    for (at, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(i8::from_ne_bytes([byte]));
    }
    if stated == unsigned || stated == signed { Ok(()) } else { Err(ArchiveError::Checksum) }
}

fn up_to_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}
