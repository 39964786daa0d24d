//! Which blocks of the data area are free: places of replaced files, used again by best fit.

use std::collections::{BTreeMap, BTreeSet};

/// Free runs of blocks and the end of what was ever used.
#[derive(Debug)]
pub(super) struct Space {
    /// Start to length; no two runs touch.
    runs: BTreeMap<u64, u64>,
    /// The same as (length, start), for the best fit.
    by_length: BTreeSet<(u64, u64)>,
    /// First block of the data area never given out.
    end: u64,
}

impl Space {
    pub(super) fn new(first: u64) -> Self {
        Self { runs: BTreeMap::new(), by_length: BTreeSet::new(), end: first }
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Takes `count` blocks from the smallest free run that holds them, the first of equals.
    pub(super) fn take_free(&mut self, count: u64) -> Option<u64> {
        let &(length, start) = self.by_length.range((count, 0)..).next()?;
        self.delete(start, length);
        if length > count {
            self.add(start + count, length - count);
        }
        Some(start)
    }

    /// Takes `count` blocks at the end.
    pub(super) fn take_fresh(&mut self, count: u64) -> u64 {
        let start = self.end;
        self.end += count;
        start
    }

    /// Gives blocks back.
    pub(super) fn free(&mut self, start: u64, count: u64) {
        let (mut start, mut count) = (start, count);
        if let Some((&before, &length)) = self.runs.range(..start).next_back() {
            if before + length == start {
                self.delete(before, length);
                start = before;
                count += length;
            }
        }
        if let Some(&length) = self.runs.get(&(start + count)) {
            self.delete(start + count, length);
            count += length;
        }
        self.add(start, count);
    }

    /// Drops a free run at the end, and returns those that remain.
    pub(super) fn close(&mut self) -> impl Iterator<Item = (u64, u64)> + use<'_> {
        if let Some((&start, &length)) = self.runs.last_key_value() {
            if start + length == self.end {
                self.delete(start, length);
                self.end = start;
            }
        }
        self.runs.iter().map(|(&start, &length)| (start, length))
    }

    fn add(&mut self, start: u64, length: u64) {
        self.runs.insert(start, length);
        self.by_length.insert((length, start));
    }

    fn delete(&mut self, start: u64, length: u64) {
        self.runs.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_run_that_fits_is_used_first() {
        let mut space = Space::new(1);
        assert_eq!(space.take_fresh(20), 1);
        space.free(2, 5);
        space.free(10, 2);
        assert_eq!(space.take_free(2), Some(10));
        assert_eq!(space.take_free(2), Some(2));
        assert_eq!(space.take_free(4), None);
        assert_eq!(space.take_free(3), Some(4));
        assert_eq!(space.take_free(1), None);
    }

    #[test]
    fn neighbours_become_one_run_and_the_last_is_given_up() {
        let mut space = Space::new(1);
        space.take_fresh(9);
        space.free(1, 2);
        space.free(5, 2);
        space.free(3, 2);
        space.free(8, 2);
        assert_eq!(space.close().collect::<Vec<_>>(), [(1, 6)]);
        assert_eq!(space.end(), 8);
    }
}
