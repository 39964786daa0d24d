//! One direction of a vchan: a ring of bytes that one side fills and the other empties.
//!
//! Each side owns one index and keeps its own copy of it. Only the other side's index is read from the shared page,
//! once for each decision, and checked. So no value from the other side can cause access outside of the ring.

use crate::gnttab::SharedMemory;
use std::sync::atomic::{Ordering, fence};

/// The other side's index is ahead by more than the ring's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

/// The bytes of a ring.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Separate pages; `None` if the ring is in the page with the indexes.
    pub(super) pages: Option<SharedMemory>,
    /// The offset of the ring in them.
    pub(super) offset: usize,
    /// The ring's size, a power of two.
    pub(super) bytes: u32,
}

/// A ring as one side sees it.
#[derive(Debug)]
pub(super) struct Ring {
    buffer: Buffer,
    /// The offset of the two indexes in the page: first of consumed, then of produced bytes.
    indexes: usize,
    /// This side's own index.
    mine: u32,
}

const CONS: usize = 0;
const PROD: usize = 4;

impl Ring {
    /// A ring with its indexes at `indexes` in the page; this side's index continues at `mine`.
    pub(super) fn new(buffer: Buffer, indexes: usize, mine: u32) -> Self {
        Self { buffer, indexes, mine }
    }

    /// The ring's size in bytes.
    pub(super) fn size(&self) -> u32 {
        self.buffer.bytes
    }

    /// Empties the ring; the other side must not use it at the same time.
    pub(super) fn reset(&mut self, page: &SharedMemory) {
        self.mine = 0;
        page.store(self.indexes + CONS, 0);
        page.store(self.indexes + PROD, 0);
    }

    /// The number of bytes that this side, the consumer, can read.
    pub(super) fn ready(&self, page: &SharedMemory) -> Result<u32, Corrupt> {
        let ready = page.load(self.indexes + PROD).wrapping_sub(self.mine);
        if ready > self.size() { Err(Corrupt) } else { Ok(ready) }
    }

    /// The number of bytes that this side, the producer, can write.
    pub(super) fn room(&self, page: &SharedMemory) -> Result<u32, Corrupt> {
        let used = self.mine.wrapping_sub(page.load(self.indexes + CONS));
        self.size().checked_sub(used).ok_or(Corrupt)
    }

    /// Takes the next bytes out; the ring must hold as many.
    pub(super) fn take(&mut self, page: &SharedMemory, bytes: &mut [u8]) {
        let (at, first) = self.place(bytes.len());
        let memory = self.buffer.pages.as_ref().unwrap_or(page);
        let (head, tail) = bytes.split_at_mut(first);
        memory.read(self.buffer.offset + at, head);
        memory.read(self.buffer.offset, tail);
        // The other side may overwrite them once it sees the index.
        fence(Ordering::SeqCst);
        self.mine = self.mine.wrapping_add(truncate(bytes.len()));
        page.store(self.indexes + CONS, self.mine);
    }

    /// Adds bytes; there must be room for them.
    pub(super) fn add(&mut self, page: &SharedMemory, bytes: &[u8]) {
        let (at, first) = self.place(bytes.len());
        let memory = self.buffer.pages.as_ref().unwrap_or(page);
        let (head, tail) = bytes.split_at(first);
        memory.write(self.buffer.offset + at, head);
        memory.write(self.buffer.offset, tail);
        self.mine = self.mine.wrapping_add(truncate(bytes.len()));
        page.store(self.indexes + PROD, self.mine);
    }

    /// The offset of the next byte, and how many of `count` bytes are before the ring's end.
    fn place(&self, count: usize) -> (usize, usize) {
        let at = (self.mine & (self.size() - 1)) as usize;
        (at, count.min(self.size() as usize - at))
    }
}

/// Converts a count; no ring is larger than 32 bits can count.
fn truncate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(bytes: u32, start: u32) -> (SharedMemory, Ring, SharedMemory, Ring) {
        let (page, other_page) = SharedMemory::pair(1);
        let ring = || Ring::new(Buffer { pages: None, offset: 1024, bytes }, 8, start);
        page.store(8, start);
        page.store(12, start);
        (page, ring(), other_page, ring())
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            start in prop_oneof![Just(0), Just(u32::MAX - 5), any::<u32>()],
            steps in prop::collection::vec((0usize..1500, 0usize..1500), 1..40),
        ) {
            let (page, mut producer, other_page, mut consumer) = pair(1024, start);
            let (mut sent, mut received) = (0u32, 0u32);
            for (add, take) in steps {
                let add = add.min(producer.room(&page).unwrap() as usize);
                let after = sent + u32::try_from(add).unwrap();
                let bytes: Vec<u8> = (sent..after).map(|at| at.to_le_bytes()[0]).collect();
                producer.add(&page, &bytes);
                sent = after;
                let take = take.min(consumer.ready(&other_page).unwrap() as usize);
                let mut bytes = vec![0; take];
                consumer.take(&other_page, &mut bytes);
                for byte in bytes {
                    prop_assert_eq!(byte, received.to_le_bytes()[0]);
                    received += 1;
                }
                prop_assert_eq!(consumer.ready(&other_page), Ok(sent - received));
                prop_assert_eq!(producer.room(&page), Ok(1024 - (sent - received)));
            }
        }

        #[test]
        fn whatever_index_the_other_side_writes_only_the_rings_bytes_are_touched(
            start in any::<u32>(),
            index in any::<u32>(),
        ) {
            let (page, mut producer, other_page, mut consumer) = pair(1024, start);
            page.write(2048, &[0x55; 8]);
            page.write(1016, &[0x55; 8]);
            other_page.store(8, index);
            if let Ok(room) = producer.room(&page) {
                prop_assert!(room <= 1024);
                producer.add(&page, &vec![0; room as usize]);
            }
            page.store(12, index);
            if let Ok(ready) = consumer.ready(&other_page) {
                prop_assert!(ready <= 1024);
                consumer.take(&other_page, &mut vec![0; ready as usize]);
            }
            let mut around = [0; 8];
            for offset in [1016, 2048] {
                page.read(offset, &mut around);
                prop_assert_eq!(around, [0x55; 8]);
            }
        }
    }

    #[test]
    fn an_index_beyond_the_ring_is_corrupt() {
        let (page, producer, other_page, consumer) = pair(1024, 7);
        page.store(12, 7 + 1025);
        assert_eq!(consumer.ready(&other_page), Err(Corrupt));
        other_page.store(8, 8);
        assert_eq!(producer.room(&page), Err(Corrupt));
    }
}
