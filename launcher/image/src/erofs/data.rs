//! Contents of files: streamed once, straight to their place on the disk.

use super::block::{BLOCK_BYTES, blocks};
use super::space::Space;
use crate::layer::SparseMap;
use crate::limits::{LimitError, Limits};
use crate::room;
use crate::tree::Extent;
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// One write covers many small files.
const BUFFER_BYTES: usize = 1 << 20;
/// All-zero stretches of this size are left as holes.
const HOLE_BYTES: usize = 64 << 10;
/// How much is written between two checks of the free space on the file system.
const LOOK_BYTES: u64 = 16 << 20;
/// EROFS counts blocks in 32 bits.
const MAX_BLOCKS: u64 = u32::MAX as u64;

/// Why contents could not be stored; `E` is the error of where they come from.
#[derive(Debug)]
pub(crate) enum DataError<E> {
    Read(E),
    Write(io::Error),
    Limit(LimitError),
}

/// The part of the disk that holds the contents of files, and the file behind it.
#[derive(Debug)]
pub(crate) struct DataArea {
    disk: File,
    space: Space,
    max_bytes: u64,
    min_free_bytes: u64,
    /// Bytes that may be written before the next check of the free space.
    unlooked: u64,
    buffer: Box<[u8]>,
    /// Bytes of `buffer` in use, and where on the disk they go.
    filled: usize,
    position: u64,
    /// Whether the buffer covers blocks that held an older file, so that zeros must be written.
    reused: bool,
}

impl DataArea {
    /// Starts with an empty disk: whatever `disk` holds is dropped.
    pub(crate) fn new(disk: File, limits: &Limits) -> io::Result<Self> {
        disk.set_len(0)?;
        Ok(Self {
            disk,
            // Block 0 is the superblock's.
            space: Space::new(1),
            max_bytes: limits.max_disk_bytes.min(MAX_BLOCKS * BLOCK_BYTES),
            min_free_bytes: limits.min_free_bytes,
            unlooked: 0,
            buffer: vec![0; BUFFER_BYTES].into(),
            filled: 0,
            position: 0,
            reused: false,
        })
    }

    /// Gives the place of a deleted file back.
    pub(crate) fn free(&mut self, extent: Extent) {
        self.space.free(extent.block, blocks(extent.bytes));
    }

    /// Stores `bytes` bytes that `read` gives piece by piece.
    pub(crate) fn store<E>(
        &mut self,
        bytes: u64,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Extent, DataError<E>> {
        if bytes == 0 {
            return Ok(Extent::default());
        }
        let (block, reused) = self.place(bytes).map_err(DataError::Limit)?;
        self.seek(block, reused).map_err(DataError::Write)?;
        let mut left = bytes;
        while left > 0 {
            if self.filled == self.buffer.len() {
                self.flush().map_err(DataError::Write)?;
            }
            let room = self.buffer.len() - self.filled;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(room);
            let target = &mut self.buffer[self.filled..self.filled + most];
            let count = read(target).map_err(DataError::Read)?;
            self.filled += count;
            left -= count as u64;
        }
        // Blocks start on block boundaries and the buffer is whole blocks, so this fits.
        let end = self.filled.next_multiple_of(4096);
        self.buffer[self.filled..end].fill(0);
        self.filled = end;
        Ok(Extent { block, bytes })
    }

    /// Stores a sparse file; its holes are holes of the disk file too.
    pub(crate) fn store_sparse<E>(
        &mut self,
        map: &SparseMap,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Extent, DataError<E>> {
        if map.real_bytes == 0 {
            return Ok(Extent::default());
        }
        self.flush().map_err(DataError::Write)?;
        // Always at the end, where the disk reads as zeros already.
        self.check_room(map.real_bytes).map_err(DataError::Limit)?;
        let block = self.space.take_fresh(blocks(map.real_bytes));
        for &(offset, length) in &map.runs {
            let mut at = block * BLOCK_BYTES + offset;
            let mut left = length;
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                let count = read(&mut self.buffer[..most]).map_err(DataError::Read)?;
                self.look(count).map_err(DataError::Write)?;
                self.disk.write_all_at(&self.buffer[..count], at).map_err(DataError::Write)?;
                at += count as u64;
                left -= count as u64;
            }
        }
        Ok(Extent { block, bytes: map.real_bytes })
    }

    /// Writes what is buffered, empties unused places, and returns the disk with its first block
    /// behind the contents.
    pub(crate) fn finish(mut self) -> io::Result<(File, u64)> {
        self.flush()?;
        for (start, count) in self.space.close() {
            clear(&self.disk, start * BLOCK_BYTES, count * BLOCK_BYTES)?;
        }
        let end = self.space.end();
        // Cuts off what a dropped last run left behind, and makes a trailing hole count.
        self.disk.set_len(end * BLOCK_BYTES)?;
        Ok((self.disk, end))
    }

    /// A place for `bytes`, and whether an older file was there.
    fn place(&mut self, bytes: u64) -> Result<(u64, bool), LimitError> {
        if let Some(block) = self.space.take_free(blocks(bytes)) {
            return Ok((block, true));
        }
        self.check_room(bytes)?;
        Ok((self.space.take_fresh(blocks(bytes)), false))
    }

    fn check_room(&self, bytes: u64) -> Result<(), LimitError> {
        let end = (self.space.end() * BLOCK_BYTES).saturating_add(bytes);
        LimitError::check("max_disk_bytes", end, self.max_bytes)
    }

    /// Makes `block` the next to be written.
    fn seek(&mut self, block: u64, reused: bool) -> io::Result<()> {
        let position = block * BLOCK_BYTES;
        if self.position + self.filled as u64 != position || self.reused != reused {
            self.flush()?;
            self.position = position;
            self.reused = reused;
        }
        Ok(())
    }

    /// Fails if `bytes` more would leave too little space on the file system.
    fn look(&mut self, bytes: usize) -> io::Result<()> {
        match self.unlooked.checked_sub(bytes as u64) {
            Some(left) => self.unlooked = left,
            None => {
                room::check(&self.disk, self.min_free_bytes)?;
                self.unlooked = LOOK_BYTES;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.look(self.filled)?;
        let data = &self.buffer[..self.filled];
        if self.reused {
            self.disk.write_all_at(data, self.position)?;
        } else {
            let mut start = 0;
            let mut at = 0;
            for chunk in data.chunks(HOLE_BYTES) {
                if chunk.iter().all(|&b| b == 0) {
                    self.disk.write_all_at(&data[start..at], self.position + start as u64)?;
                    start = at + chunk.len();
                }
                at += chunk.len();
            }
            self.disk.write_all_at(&data[start..], self.position + start as u64)?;
        }
        self.position += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

/// Makes a stretch of the disk read as zeros, and frees its room where the file system can.
fn clear(disk: &File, start: u64, bytes: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(disk, flags, start, bytes) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = vec![0; BUFFER_BYTES];
    let mut done = 0;
    while done < bytes {
        let most = usize::try_from(bytes - done).unwrap_or(usize::MAX).min(zeros.len());
        disk.write_all_at(&zeros[..most], start + done)?;
        done += most as u64;
    }
    Ok(())
}
