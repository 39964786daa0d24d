//! Sparse files: GNU's old header form and the three PAX forms (0.0, 0.1, 1.0).
//!
//! Source of the formats: the GNU tar manual, "Storing Sparse Files".

use super::ArchiveError;
use super::number::{parse_decimal, parse_field};
use crate::limits::{LimitError, Limits};

/// Which parts of a file the archive holds; the rest is zeros.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseMap {
    /// Size of the file with its holes.
    pub(crate) real_bytes: u64,
    /// (offset, length), ascending, not touching each other's bytes; their lengths sum to the data.
    pub(crate) runs: Vec<(u64, u64)>,
}

impl SparseMap {
    /// Checks that the runs are in order, inside the file, and are `data_bytes` together.
    pub(super) fn checked(
        real_bytes: u64,
        runs: Vec<(u64, u64)>,
        data_bytes: u64,
    ) -> Result<Self, ArchiveError> {
        let mut end = 0;
        let mut sum = 0;
        for &(offset, length) in &runs {
            let next = offset.checked_add(length).ok_or(ArchiveError::Sparse)?;
            if offset < end || next > real_bytes {
                return Err(ArchiveError::Sparse);
            }
            end = next;
            sum += length;
        }
        if sum != data_bytes {
            return Err(ArchiveError::Sparse);
        }
        Ok(Self { real_bytes, runs })
    }
}

/// Appends the (offset, length) pairs of an old GNU header's slots; an empty slot ends them.
pub(super) fn parse_slots(
    slots: &[u8],
    runs: &mut Vec<(u64, u64)>,
    limits: &Limits,
) -> Result<(), ArchiveError> {
    for slot in slots.chunks_exact(24) {
        // Older writers leave out the last run's length of zero.
        if slot[0] == 0 {
            break;
        }
        let field = |part| {
            parse_field("sparse", part)
                .and_then(|value| u64::try_from(value).map_err(|_| ArchiveError::Sparse))
        };
        push_run(runs, (field(&slot[..12])?, field(&slot[12..])?), limits)?;
    }
    Ok(())
}

fn push_run(
    runs: &mut Vec<(u64, u64)>,
    run: (u64, u64),
    limits: &Limits,
) -> Result<(), ArchiveError> {
    runs.push(run);
    LimitError::check("max_sparse_runs", runs.len() as u64, limits.max_sparse_runs.into())
        .map_err(ArchiveError::SparseRuns)
}

/// The `GNU.sparse.` records of one PAX header.
#[derive(Debug, Default)]
pub(super) struct PaxRecords {
    major: Option<Vec<u8>>,
    minor: Option<Vec<u8>>,
    pub(super) name: Option<Vec<u8>>,
    real_bytes: Option<u64>,
    /// Numbers of a 0.0 or 0.1 map, in turn offset and length.
    numbers: Vec<u64>,
    has_map: bool,
}

/// What the records make of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    NotSparse,
    /// The map is in the header.
    InHeader,
    /// The map stands before the data.
    BeforeData,
}

impl PaxRecords {
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        let number = || parse_decimal(value).ok_or(ArchiveError::Sparse);
        match name {
            b"major" => self.major = Some(value.to_vec()),
            b"minor" => self.minor = Some(value.to_vec()),
            b"name" if value.contains(&0) => return Err(ArchiveError::Pax),
            b"name" => self.name = Some(value.to_vec()).filter(|name| !name.is_empty()),
            b"size" | b"realsize" => self.real_bytes = Some(number()?),
            b"offset" | b"numbytes" => {
                // 0.0 tells each run in two records, in this order.
                if (self.numbers.len() % 2 == 0) != (name == b"offset") {
                    return Err(ArchiveError::Sparse);
                }
                self.numbers.push(number()?);
                self.has_map = true;
            }
            b"map" => {
                self.numbers.clear();
                self.has_map = true;
                if !value.is_empty() {
                    for part in value.split(|&b| b == b',') {
                        self.numbers.push(parse_decimal(part).ok_or(ArchiveError::Sparse)?);
                    }
                }
            }
            // `numblocks` says what the map says again.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn form(&self) -> Result<Form, ArchiveError> {
        match (self.major.as_deref(), self.minor.as_deref()) {
            (Some(b"1"), Some(b"0")) => Ok(Form::BeforeData),
            (Some(b"0"), Some(b"0" | b"1")) => Ok(Form::InHeader),
            // 0.0 and 0.1 came before the version records.
            (None, None) if self.has_map => Ok(Form::InHeader),
            (None, None) => Ok(Form::NotSparse),
            (major, minor) => {
                let show = |v: Option<&[u8]>| v.unwrap_or(b"?").escape_ascii().to_string();
                Err(ArchiveError::SparseVersion(format!("{}.{}", show(major), show(minor))))
            }
        }
    }

    /// The map of a 0.0 or 0.1 file whose data is `data_bytes` long.
    pub(super) fn map(
        &mut self,
        data_bytes: u64,
        limits: &Limits,
    ) -> Result<SparseMap, ArchiveError> {
        let numbers = std::mem::take(&mut self.numbers);
        self.map_of(&numbers, data_bytes, limits)
    }

    fn map_of(
        &self,
        numbers: &[u64],
        data_bytes: u64,
        limits: &Limits,
    ) -> Result<SparseMap, ArchiveError> {
        let real_bytes = self.real_bytes.ok_or(ArchiveError::Sparse)?;
        if numbers.len() % 2 != 0 {
            return Err(ArchiveError::Sparse);
        }
        let mut runs = Vec::with_capacity(numbers.len() / 2);
        for pair in numbers.chunks_exact(2) {
            push_run(&mut runs, (pair[0], pair[1]), limits)?;
        }
        SparseMap::checked(real_bytes, runs, data_bytes)
    }

    /// The map of a 1.0 file of `bytes` in the archive. `read_block` gives the next 512 of them.
    pub(super) fn map_before_data(
        &self,
        bytes: u64,
        limits: &Limits,
        mut read_block: impl FnMut() -> Result<[u8; 512], ArchiveError>,
    ) -> Result<SparseMap, ArchiveError> {
        let mut lines = Lines::default();
        let mut used = 0;
        let mut next = || loop {
            if let Some(number) = lines.next_number()? {
                return Ok(number);
            }
            used += 512;
            if used > bytes {
                return Err(ArchiveError::Sparse);
            }
            lines.feed(&read_block()?);
        };
        let count: u64 = next()?;
        LimitError::check("max_sparse_runs", count, limits.max_sparse_runs.into())
            .map_err(ArchiveError::SparseRuns)?;
        let mut numbers = Vec::new();
        for _ in 0..2 * count {
            numbers.push(next()?);
        }
        self.map_of(&numbers, bytes - used, limits)
    }
}

/// Decimal lines out of 512-byte blocks.
#[derive(Default)]
struct Lines {
    pending: Vec<u8>,
    read: usize,
}

impl Lines {
    fn feed(&mut self, block: &[u8]) {
        self.pending.drain(..self.read);
        self.read = 0;
        self.pending.extend_from_slice(block);
    }

    fn next_number(&mut self) -> Result<Option<u64>, ArchiveError> {
        let rest = &self.pending[self.read..];
        // No number has more digits than u64 has; a longer line is junk.
        let Some(end) = rest.iter().take(21).position(|&b| b == b'\n') else {
            return if rest.len() > 20 { Err(ArchiveError::Sparse) } else { Ok(None) };
        };
        let number = parse_decimal(&rest[..end]).ok_or(ArchiveError::Sparse)?;
        self.read += end + 1;
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_must_ascend_inside_the_file_and_sum_to_the_data() {
        SparseMap::checked(100, vec![(0, 10), (10, 5), (90, 10)], 25).unwrap();
        SparseMap::checked(100, vec![(100, 0)], 0).unwrap();
        for (real, runs, data) in [
            (100, vec![(10, 10), (15, 5)], 15),
            (100, vec![(20, 1), (10, 1)], 2),
            (100, vec![(95, 10)], 10),
            (100, vec![(u64::MAX, 10)], 10),
            (100, vec![(0, 10)], 11),
        ] {
            let checked = SparseMap::checked(real, runs, data);
            assert!(matches!(checked, Err(ArchiveError::Sparse)), "{checked:?}");
        }
    }

    #[test]
    fn a_map_before_the_data_may_cross_blocks() {
        let mut text = b"100\n".to_vec();
        for i in 0..100 {
            text.extend_from_slice(format!("{}\n1\n", i * 1000).as_bytes());
        }
        text.resize(text.len().next_multiple_of(512), 0);
        let mut blocks = text.chunks(512);
        let records = PaxRecords { real_bytes: Some(100_000), ..PaxRecords::default() };
        let map = records
            .map_before_data(text.len() as u64 + 100, &Limits::default(), || {
                Ok(blocks.next().unwrap().try_into().unwrap())
            })
            .unwrap();
        assert_eq!(map.runs.len(), 100);
        assert_eq!(map.runs[99], (99_000, 1));
    }

    #[test]
    fn a_map_that_never_ends_stops_at_the_entry() {
        let records = PaxRecords { real_bytes: Some(1 << 40), ..PaxRecords::default() };
        let mut block = [b'\n'; 512];
        block[..6].copy_from_slice(b"99999\n");
        for i in (6..510).step_by(2) {
            block[i] = b'0';
        }
        let error = records.map_before_data(4096, &Limits::default(), || Ok(block));
        assert!(matches!(error, Err(ArchiveError::Sparse)));
        let digits = [b'1'; 512];
        let error = records.map_before_data(4096, &Limits::default(), || Ok(digits));
        assert!(matches!(error, Err(ArchiveError::Sparse)));
    }
}
