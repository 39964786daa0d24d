//! Directories as EROFS stores them: blocks of sorted entries, names behind the entries.

use super::format::{DIRENT_BYTES, put};

const BLOCK: usize = 4096;

/// A directory entry to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dirent<'a> {
    pub(super) name: &'a [u8],
    pub(super) nid: u64,
    pub(super) file_type: u8,
}

/// Size of a directory with these names, which must be sorted by bytes and include `.` and `..`.
///
/// No entry crosses a block; the last block is as long as its entries.
pub(super) fn size<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut full = 0;
    let mut used = 0;
    for name in names {
        let need = DIRENT_BYTES + name.len();
        if used + need > BLOCK {
            full += 1;
            used = 0;
        }
        used += need;
    }
    full * BLOCK as u64 + used as u64
}

/// The bytes of a directory, as many as [`size`] said.
pub(super) fn render(entries: &[Dirent<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        // Names of the block before end at its end, with zeros up to there.
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        let mut used = 0;
        let fit = rest
            .iter()
            .take_while(|entry| {
                used += DIRENT_BYTES + entry.name.len();
                used <= BLOCK
            })
            .count();
        let (block, later) = rest.split_at(fit);
        render_block(block, &mut out);
        rest = later;
    }
    out
}

fn render_block(entries: &[Dirent<'_>], out: &mut Vec<u8>) {
    let mut name_at = entries.len() * DIRENT_BYTES;
    for entry in entries {
        let mut dirent = [0; DIRENT_BYTES];
        put(&mut dirent, 0, &entry.nid.to_le_bytes());
        // Below 4096 by the block's size.
        let offset = u16::try_from(name_at).unwrap_or(u16::MAX);
        put(&mut dirent, 8, &offset.to_le_bytes());
        dirent[10] = entry.file_type;
        out.extend_from_slice(&dirent);
        name_at += entry.name.len();
    }
    for entry in entries {
        out.extend_from_slice(entry.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_known_before_the_bytes() {
        for count in [1, 2, 15, 16, 17, 1000] {
            let names: Vec<Vec<u8>> =
                (0..count).map(|i| format!("{i:0>len$}", len = 4 + i % 250).into_bytes()).collect();
            let entries: Vec<Dirent<'_>> =
                names.iter().map(|name| Dirent { name, nid: 7, file_type: 1 }).collect();
            let size = size(names.iter().map(Vec::as_slice));
            assert_eq!(render(&entries).len() as u64, size, "{count} names");
        }
    }

    #[test]
    fn a_block_is_filled_to_its_last_byte() {
        // 16 entries of 12 + 244 bytes are exactly one block.
        let names = [[b'x'; 244]; 16];
        assert_eq!(size(names.iter().map(|n| &n[..])), 4096);
        let names = [[b'x'; 245]; 16];
        assert_eq!(size(names.iter().map(|n| &n[..])), 4096 + 257);
    }
}
