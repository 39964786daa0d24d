//! Makes the page tables with which a PV domain starts.

use std::ops::Range;
use xen_sys::PAGE_SHIFT;

const ENTRIES: u64 = 512;
const ENTRY_BITS: u32 = 9;
/// The address bits that paging translates; the upper bits repeat the highest of them.
const ADDRESS_MASK: u64 = (1 << 48) - 1;

/// Present, accessed.
const PAGE_READ: u64 = 1 | 1 << 5;
/// Present, writable, accessed.
const PAGE_WRITE: u64 = PAGE_READ | 1 << 1;
/// Present, writable, user, accessed, dirty.
const TABLE: u64 = PAGE_WRITE | 1 << 2 | 1 << 6;

/// A range of virtual addresses mapped to consecutive guest pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    /// First virtual address.
    pub(super) address: u64,
    /// The guest pages (pfns) of the range; the first is mapped at `address`.
    pub(super) pages: Range<u64>,
}

/// One page table: its place and its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) pfn: u64,
    pub(super) entries: Vec<u64>,
}

/// The tables of one level for an area.
#[derive(Clone, Debug)]
struct Level {
    /// The level's number, 1 to 3.
    number: u32,
    /// The first virtual address that the first table covers.
    address: u64,
    /// The guest pages of the tables.
    pages: Range<u64>,
}

impl Level {
    /// Base-2 logarithm of the bytes that one entry of this level covers.
    fn entry_shift(number: u32) -> u32 {
        PAGE_SHIFT + ENTRY_BITS * (number - 1)
    }

    fn covering(area: &Area, number: u32, first_pfn: u64) -> Self {
        let table_shift = Self::entry_shift(number + 1);
        let first = area.start() >> table_shift;
        let last = (area.end() - 1) >> table_shift;
        let pages = first_pfn..first_pfn + (last - first + 1);
        Self { number, address: first << table_shift, pages }
    }
}

impl Area {
    fn start(&self) -> u64 {
        self.address & ADDRESS_MASK
    }

    fn end(&self) -> u64 {
        self.start() + ((self.pages.end - self.pages.start) << PAGE_SHIFT)
    }

    /// The levels below the root, top first, with consecutive tables.
    fn levels(&self, mut first_pfn: u64) -> Vec<Level> {
        let mut levels = Vec::new();
        for number in [3, 2, 1] {
            let level = Level::covering(self, number, first_pfn);
            first_pfn = level.pages.end;
            levels.push(level);
        }
        levels
    }

    /// The number of tables below the root that it needs.
    pub(super) fn table_count(&self) -> u64 {
        self.levels(0).iter().map(|level| level.pages.end - level.pages.start).sum()
    }

    /// The slots of the root table that it uses.
    pub(super) fn root_slots(&self) -> Range<u64> {
        let shift = Level::entry_shift(4);
        self.start() >> shift..((self.end() - 1) >> shift) + 1
    }

    /// Creates the tables below `root`, the first at guest page `first_pfn`, and enters them in `root`.
    ///
    /// `frame` gives each guest page's machine frame; pages in `read_only` are mapped read-only, as Xen requires for
    /// all page tables.
    pub(super) fn tables(
        &self,
        root: &mut Table,
        first_pfn: u64,
        frame: impl Fn(u64) -> u64,
        read_only: &Range<u64>,
    ) -> Vec<Table> {
        let levels = self.levels(first_pfn);
        let mut tables: Vec<Table> = levels
            .iter()
            .flat_map(|level| level.pages.clone())
            .map(|pfn| Table { pfn, entries: vec![0; super::piece::to_index(ENTRIES)] })
            .collect();

        for level in &levels {
            let shift = Level::entry_shift(level.number + 1);
            for (index, pfn) in (0..).zip(level.pages.clone()) {
                let address = level.address + (index << shift);
                let entry = frame(pfn) << PAGE_SHIFT | TABLE;
                match levels.iter().find(|above| above.number == level.number + 1) {
                    Some(above) => enter(&mut tables, first_pfn, above, address, entry),
                    None => root.entries[slot(address, 4)] = entry,
                }
            }
        }
        for (index, pfn) in (0..).zip(self.pages.clone()) {
            let address = self.start() + (index << PAGE_SHIFT);
            let flags = if read_only.contains(&pfn) { PAGE_READ } else { PAGE_WRITE };
            enter(&mut tables, first_pfn, &levels[2], address, frame(pfn) << PAGE_SHIFT | flags);
        }
        tables
    }
}

/// Writes the entry for `address` into the table of `level` that covers it.
fn enter(tables: &mut [Table], first_pfn: u64, level: &Level, address: u64, entry: u64) {
    let table = (address - level.address) >> Level::entry_shift(level.number + 1);
    let index = super::piece::to_index(level.pages.start + table - first_pfn);
    tables[index].entries[slot(address, level.number)] = entry;
}

fn slot(address: u64, level: u32) -> usize {
    super::piece::to_index((address >> Level::entry_shift(level)) % ENTRIES)
}

/// An empty root table at guest page `pfn`.
pub(super) fn root(pfn: u64) -> Table {
    Table { pfn, entries: vec![0; super::piece::to_index(ENTRIES)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Machine frames different from the guest pages.
    fn frame(pfn: u64) -> u64 {
        pfn ^ 0x5555
    }

    /// Walks the tables like the processor; returns machine frame and writability.
    fn walk(tables: &HashMap<u64, &Table>, root: u64, address: u64) -> Option<(u64, bool)> {
        let mut table = frame(root);
        for level in [4, 3, 2, 1] {
            let entry = tables[&table].entries[slot(address & ADDRESS_MASK, level)];
            if entry & 1 == 0 {
                return None;
            }
            table = entry >> PAGE_SHIFT;
            if level == 1 {
                return Some((table, entry & 2 != 0));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn the_processor_finds_each_page_of_both_areas_and_nothing_beside_them(
            kernel_pages in 1u64..3000,
            list_pages in 1u64..1500,
            probe in 0u64..3000,
        ) {
            let kernel = Area { address: 0xffff_ffff_8000_0000, pages: 0..kernel_pages };
            let list = Area { address: 0x80_0000_0000, pages: 9000..9000 + list_pages };
            let mut top = root(5000);
            let read_only = 5000..5001 + kernel.table_count();
            let mut all = kernel.tables(&mut top, 5001, frame, &read_only);
            prop_assert_eq!(all.len() as u64, kernel.table_count());
            all.extend(list.tables(&mut top, 20000, frame, &read_only));
            all.push(top);
            let by_frame: HashMap<u64, &Table> =
                all.iter().map(|table| (frame(table.pfn), table)).collect();

            for area in [&kernel, &list] {
                let found = walk(&by_frame, 5000, area.address + (probe << PAGE_SHIFT));
                let pfn = area.pages.start + probe;
                let expected = area.pages.contains(&pfn).then(|| (frame(pfn), !read_only.contains(&pfn)));
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn page_tables_within_the_area_are_mapped_read_only() {
        let area = Area { address: 0xffff_ffff_8000_0000, pages: 0..1024 };
        let mut top = root(100);
        let read_only = 100..101 + area.table_count();
        let tables = area.tables(&mut top, 101, frame, &read_only);
        let leaf = &tables[2];
        assert_eq!(leaf.entries[99] & 2, 2);
        assert_eq!(leaf.entries[100] & 2, 0);
        assert_eq!(leaf.entries[101] & 2, 0);
    }
}
