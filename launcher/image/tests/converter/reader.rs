//! A small EROFS reader that checks all it reads: the tests' own view of a disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A file found on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// `st_mode`, kind included.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) mtime: (i64, u32),
    /// Major and minor.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    /// Contents of a file, target of a symbolic link.
    pub(crate) data: Vec<u8>,
    /// Equal for names of one file.
    pub(crate) nid: u64,
}

/// All files of a disk by path; the root is the empty path.
pub(crate) type Files = BTreeMap<Vec<u8>, Found>;

const BLOCK: u64 = 4096;

/// Reads and checks a whole disk.
pub(crate) fn read(disk: &[u8]) -> Files {
    let reader = Reader::new(disk);
    let mut files = Files::new();
    let mut parents = HashMap::new();
    let root = u64::from(u16_at(disk, 1024 + 14));
    reader.directory(root, root, Vec::new(), &mut files, &mut parents);
    let inodes: BTreeSet<u64> = files.values().map(|found| found.nid).collect();
    assert_eq!(u64_at(disk, 1024 + 16), inodes.len() as u64, "the superblock counts the inodes");
    check_links(&files);
    reader.check_overlaps(&inodes);
    files
}

/// A file's link count is its number of names; a directory's is two and its subdirectories.
fn check_links(files: &Files) {
    let mut names: HashMap<u64, u32> = HashMap::new();
    for (path, found) in files {
        if found.mode & 0o170_000 == 0o040_000 {
            *names.entry(found.nid).or_default() += 2;
            if !path.is_empty() {
                let end = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
                *names.entry(files[&path[..end]].nid).or_default() += 1;
            }
        } else {
            *names.entry(found.nid).or_default() += 1;
        }
    }
    for (path, found) in files {
        assert_eq!(found.links, names[&found.nid], "links of {}", path.escape_ascii());
    }
}

struct Reader<'a> {
    disk: &'a [u8],
    meta: u64,
    xattrs: u64,
    build_time: (i64, u32),
}

struct Inode {
    found: Found,
    layout: u16,
    size: u64,
    union: u32,
    /// Where inline data would start.
    tail: u64,
}

impl<'a> Reader<'a> {
    fn new(disk: &'a [u8]) -> Self {
        let sb = 1024;
        assert_eq!(u32_at(disk, sb), 0xe0f5_e1e2);
        let mut summed = disk[1024..4096].to_vec();
        summed[4..8].fill(0);
        assert_eq!(u32_at(disk, sb + 4), crc32c(&summed), "checksum of the superblock");
        assert_eq!(u32_at(disk, sb + 8), 3, "compatible features");
        assert_eq!(disk[sb + 12], 12, "4 KiB blocks");
        assert_eq!(u32_at(disk, sb + 80), 0, "no incompatible features");
        assert_eq!(
            u64::from(u32_at(disk, sb + 36)) * BLOCK,
            disk.len() as u64,
            "length of the disk"
        );
        Self {
            disk,
            meta: u64::from(u32_at(disk, sb + 40)) * BLOCK,
            xattrs: u64::from(u32_at(disk, sb + 44)) * BLOCK,
            build_time: (i64::from_le_bytes(bytes(disk, sb + 24)), u32_at(disk, sb + 32)),
        }
    }

    fn inode(&self, nid: u64) -> Inode {
        let start = at(self.meta + nid * 32);
        let d = self.disk;
        let format = u16_at(d, start);
        let (extended, layout) = (format & 1 == 1, format >> 1);
        assert!(layout == 0 || layout == 2, "layout of inode {nid}");
        let head = if extended { 64 } else { 32 };
        assert!(start % 4096 + head <= 4096, "inode {nid} crosses a block");
        let mode = u16_at(d, start + 4);
        let xattr_count = usize::from(u16_at(d, start + 2));
        let union = u32_at(d, start + 16);
        let mut found = Found { mode, nid, mtime: self.build_time, ..Found::default() };
        let size;
        if extended {
            size = u64_at(d, start + 8);
            found.uid = u32_at(d, start + 24);
            found.gid = u32_at(d, start + 28);
            found.mtime = (i64::from_le_bytes(bytes(d, start + 32)), u32_at(d, start + 40));
            found.links = u32_at(d, start + 44);
        } else {
            size = u64::from(u32_at(d, start + 8));
            found.links = u16_at(d, start + 6).into();
            found.uid = u16_at(d, start + 24).into();
            found.gid = u16_at(d, start + 26).into();
        }
        assert!(found.mtime.1 < 1_000_000_000, "nanoseconds of inode {nid}");
        if matches!(mode & 0o170_000, 0o020_000 | 0o060_000) {
            found.device = ((union >> 8) & 0xfff, (union & 0xff) | ((union >> 12) & 0xfff00));
        }
        let body = if xattr_count == 0 { 0 } else { 12 + 4 * (xattr_count - 1) };
        if body > 0 {
            found.xattrs = self.read_xattrs(start + head, body);
        }
        Inode { found, layout, size, union, tail: (start + head + body) as u64 }
    }

    fn read_xattrs(&self, start: usize, body: usize) -> BTreeMap<String, Vec<u8>> {
        let d = self.disk;
        let shared = usize::from(d[start + 4]);
        assert!(body > 12, "an attribute header alone is not allowed");
        assert_eq!(body, 12 + 4 * shared, "only shared attributes");
        (0..shared)
            .map(|i| {
                let id = u64::from(u32_at(d, start + 12 + 4 * i));
                let entry = at(self.xattrs + id * 4);
                let name_end = entry + 4 + usize::from(d[entry]);
                let value_end = name_end + usize::from(u16_at(d, entry + 2));
                let prefix = match d[entry + 1] {
                    1 => "user.",
                    2 => "system.posix_acl_access",
                    3 => "system.posix_acl_default",
                    4 => "trusted.",
                    6 => "security.",
                    other => panic!("attribute prefix {other}"),
                };
                let rest = d[entry + 4..name_end].escape_ascii();
                (format!("{prefix}{rest}"), d[name_end..value_end].to_vec())
            })
            .collect()
    }

    fn contents(&self, inode: &Inode) -> Vec<u8> {
        let whole = if inode.layout == 2 {
            inode.size.saturating_sub(1) / BLOCK * BLOCK
        } else {
            inode.size
        };
        let start = u64::from(inode.union) * BLOCK;
        let mut data = Vec::new();
        if whole > 0 {
            data.extend_from_slice(&self.disk[at(start)..at(start + whole)]);
            let padding = at(start + whole)..at((start + whole).next_multiple_of(BLOCK));
            let kind = inode.found.mode & 0o170_000;
            assert!(self.disk[padding].iter().all(|&b| b == 0), "padding of kind {kind:o}");
        }
        let tail = inode.size - whole;
        if tail > 0 {
            assert!(inode.tail % BLOCK + tail <= BLOCK, "inline data crosses a block");
            data.extend_from_slice(&self.disk[at(inode.tail)..at(inode.tail + tail)]);
        }
        data
    }

    fn directory(
        &self,
        nid: u64,
        parent: u64,
        path: Vec<u8>,
        files: &mut Files,
        seen: &mut HashMap<u64, u64>,
    ) {
        let inode = self.inode(nid);
        assert_eq!(inode.found.mode & 0o170_000, 0o040_000);
        assert!(seen.insert(nid, parent).is_none(), "directory {nid} has two names");
        let entries = self.dirents(&self.contents(&inode));
        assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0), "names in order");
        files.insert(path.clone(), inode.found);
        let mut dots = 0;
        for (name, target, file_type) in entries {
            match &*name {
                b"." => assert_eq!(target, nid),
                b".." => assert_eq!(target, parent),
                _ => {
                    self.entry(nid, &path, &name, target, file_type, files, seen);
                    continue;
                }
            }
            assert_eq!(file_type, 2);
            dots += 1;
        }
        assert_eq!(dots, 2, "`.` and `..` of {}", path.escape_ascii());
    }

    #[allow(clippy::too_many_arguments)]
    fn entry(
        &self,
        directory: u64,
        path: &[u8],
        name: &[u8],
        target: u64,
        file_type: u8,
        files: &mut Files,
        seen: &mut HashMap<u64, u64>,
    ) {
        let mut below = path.to_vec();
        if !below.is_empty() {
            below.push(b'/');
        }
        below.extend_from_slice(name);
        let mut inode = self.inode(target);
        let kind = inode.found.mode & 0o170_000;
        let types = [
            (0o100_000, 1),
            (0o040_000, 2),
            (0o020_000, 3),
            (0o060_000, 4),
            (0o010_000, 5),
            (0o120_000, 7),
        ];
        assert!(types.contains(&(kind, file_type)), "type of {}", below.escape_ascii());
        match file_type {
            2 => return self.directory(target, directory, below, files, seen),
            1 | 7 => inode.found.data = self.contents(&inode),
            _ => assert_eq!(inode.size, 0),
        }
        assert!(files.insert(below, inode.found).is_none());
    }

    fn dirents(&self, data: &[u8]) -> Vec<(Vec<u8>, u64, u8)> {
        let mut out = Vec::new();
        for block in data.chunks(4096) {
            let count = usize::from(u16_at(block, 8)) / 12;
            assert!(count > 0);
            for i in 0..count {
                let start = usize::from(u16_at(block, i * 12 + 8));
                let end = if i + 1 < count {
                    usize::from(u16_at(block, (i + 1) * 12 + 8))
                } else {
                    block[start..].iter().position(|&b| b == 0).map_or(block.len(), |n| start + n)
                };
                assert!((1..=255).contains(&(end - start)), "length of a name");
                out.push((block[start..end].to_vec(), u64_at(block, i * 12), block[i * 12 + 10]));
            }
        }
        out
    }

    /// No two inodes share a block, and all blocks are before the metadata.
    fn check_overlaps(&self, inodes: &BTreeSet<u64>) {
        let mut runs = Vec::new();
        for &nid in inodes {
            let inode = self.inode(nid);
            let whole = if inode.layout == 2 {
                (inode.size - 1) / BLOCK
            } else {
                inode.size.div_ceil(BLOCK)
            };
            let kind = inode.found.mode & 0o170_000;
            if whole > 0 && matches!(kind, 0o100_000 | 0o040_000 | 0o120_000) {
                runs.push((u64::from(inode.union), whole));
            }
        }
        runs.sort_unstable();
        for pair in runs.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "blocks used twice: {pair:?}");
        }
        if let (Some(first), Some(last)) = (runs.first(), runs.last()) {
            assert!(first.0 >= 1 && (last.0 + last.1) * BLOCK <= self.xattrs);
        }
    }
}

fn crc32c(data: &[u8]) -> u32 {
    data.iter().fold(!0, |sum, &byte| {
        (0..8).fold(
            sum ^ u32::from(byte),
            |s, _| if s & 1 == 1 { (s >> 1) ^ 0x82f6_3b78 } else { s >> 1 },
        )
    })
}

fn at(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

fn bytes<const N: usize>(data: &[u8], start: usize) -> [u8; N] {
    data[start..start + N].try_into().unwrap()
}

fn u16_at(data: &[u8], start: usize) -> u16 {
    u16::from_le_bytes(bytes(data, start))
}

fn u32_at(data: &[u8], start: usize) -> u32 {
    u32::from_le_bytes(bytes(data, start))
}

fn u64_at(data: &[u8], start: usize) -> u64 {
    u64::from_le_bytes(bytes(data, start))
}
