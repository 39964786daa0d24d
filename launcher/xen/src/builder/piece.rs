//! Bytes to put into a new domain's memory.

use super::error::BuildError;
use super::payload::Payload;
use crate::foreignmemory::Mapping;
use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use xen_sys::{PAGE_BYTES, PAGE_SHIFT};

/// The source of a [`Piece`]'s bytes.
#[derive(Clone, Debug)]
pub(super) enum Data<'a> {
    Bytes(Cow<'a, [u8]>),
    /// A part of a file, which errors call `what`.
    File {
        what: &'static str,
        file: &'a File,
        range: Range<u64>,
    },
}

impl<'a> Data<'a> {
    /// The whole of a file.
    pub(super) fn of(what: &'static str, payload: Payload<'a>) -> Self {
        Self::File { what, file: payload.file, range: 0..payload.bytes }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.end - range.start,
        }
    }
}

impl<'a> From<&'a [u8]> for Data<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Data<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// Bytes to put into the guest.
#[derive(Clone, Debug)]
pub(super) struct Piece<'a> {
    /// Their guest physical address.
    address: u64,
    data: Data<'a>,
    /// Their size in memory; zeroes follow the data.
    memory_bytes: u64,
}

impl<'a> Piece<'a> {
    /// Puts `data` at guest physical address `address`.
    pub(super) fn new(address: u64, data: impl Into<Data<'a>>) -> Self {
        let data = data.into();
        let memory_bytes = data.len();
        Self { address, data, memory_bytes }
    }

    /// Adds zeroes up to a size of `memory_bytes`.
    pub(super) fn padded(self, memory_bytes: u64) -> Self {
        Self { memory_bytes: memory_bytes.max(self.memory_bytes), ..self }
    }

    /// A page of zeroes.
    pub(super) fn zero_page(pfn: u64) -> Self {
        Self::new(pfn << PAGE_SHIFT, &[][..]).padded(PAGE_BYTES as u64)
    }

    fn end(&self) -> u64 {
        self.address + self.memory_bytes
    }

    pub(super) fn pages(&self) -> Range<u64> {
        self.address >> PAGE_SHIFT..pages_of(self.end())
    }

    /// Writes the part in the pages `window` (sorted, without repeats) to their mapping.
    pub(super) fn copy_to(&self, mapping: &mut Mapping, window: &[u64]) -> Result<(), BuildError> {
        let all = self.pages();
        let first = window.partition_point(|pfn| *pfn < all.start);
        let count = window.partition_point(|pfn| *pfn < all.end) - first;
        // Every page of a piece is in some window, so those in this window are consecutive.
        let Some(first_page) = window.get(first).filter(|_| count > 0) else { return Ok(()) };
        let window_start = first_page << PAGE_SHIFT;
        let window_end = window_start + ((count as u64) << PAGE_SHIFT);
        let start = self.address.max(window_start);
        let end = self.end().min(window_end);
        let data_end = (self.address + self.data.len()).clamp(start, end);

        let offset = (first << PAGE_SHIFT) + to_index(start - window_start);
        let from = (start - self.address).min(self.data.len());
        let count = to_index(data_end - start);
        match &self.data {
            Data::Bytes(bytes) => mapping.write(offset, &bytes[to_index(from)..][..count]),
            Data::File { what, file, range } => mapping
                .read_file(offset, file, range.start + from, count)
                .map_err(|source| BuildError::Payload { what, source })?,
        }
        mapping.clear(offset + count, to_index(end - data_end));
        Ok(())
    }
}

/// Converts a 64-bit number; guest addresses and frame numbers fit dom0's address space.
#[expect(clippy::cast_possible_truncation, reason = "64-bit x86 only")]
pub(super) fn to_index(number: u64) -> usize {
    const { assert!(size_of::<usize>() == size_of::<u64>()) };
    number as usize
}

/// The number of pages that `bytes` take.
pub(super) fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::super::payload::file_of;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn pieces_reach_their_addresses_whatever_the_windows(
            address in 0u64..20_000,
            data in prop::collection::vec(1u8.., 0..20_000),
            zeroes in 0u64..9_000,
            hole in 0u64..8,
            from_file in any::<bool>(),
        ) {
            let file = file_of(&data);
            let content = match from_file {
                true => Data::of("file", Payload::new(&file).unwrap()),
                false => Data::from(&data[..]),
            };
            let piece = Piece::new(address, content).padded(data.len() as u64 + zeroes);
            // The piece's pages and some around it, in two windows, so that one window ends within the piece.
            let pages: Vec<u64> = (0..16).filter(|pfn| piece.pages().contains(pfn) || pfn % 3 == 0).collect();
            let split = pages.len().min(to_index(hole) + 1);
            for window in [&pages[..split], &pages[split..]] {
                if window.is_empty() {
                    continue;
                }
                let mut mapping = Mapping::anonymous(window.len(), 0xEE);
                piece.copy_to(&mut mapping, window).unwrap();
                for (index, pfn) in window.iter().enumerate() {
                    let page = mapping.page(index);
                    for (offset, byte) in page.iter().enumerate() {
                        let at = (pfn << PAGE_SHIFT) + offset as u64;
                        let expected = match at.checked_sub(address) {
                            Some(position) if position < data.len() as u64 => data[to_index(position)],
                            Some(position) if position < data.len() as u64 + zeroes => 0,
                            _ => 0xEE,
                        };
                        prop_assert_eq!(*byte, expected, "at {}", at);
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_that_has_become_shorter_is_an_error_and_not_zeroes() {
        let file = file_of(&[7; 5000]);
        let piece = Piece::new(0, Data::of("initramfs", Payload::new(&file).unwrap()));
        file.set_len(4999).unwrap();
        let error = piece.copy_to(&mut Mapping::anonymous(2, 0), &[0, 1]).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the initramfs: "), "{error}");
    }
}
