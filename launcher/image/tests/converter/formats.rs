//! The dialects of tar: ustar, GNU, PAX, V7, and four ways to pack a sparse file.

use crate::build::{Layer, Meta, header};
use crate::run::{at, convert_bytes, files, names};
use image::Limits;
use tar::{EntryType, Header};

/// A sparse file of 20,000 bytes with "head" at 0, "middle" at 9000, and nothing after.
fn sparse_file() -> Vec<u8> {
    let mut data = vec![0; 20_000];
    data[..4].copy_from_slice(b"head");
    data[9000..9006].copy_from_slice(b"middle");
    data
}

fn number(field: &mut [u8], value: u64) {
    let text = format!("{value:0>width$o}", width = field.len() - 1);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

#[test]
fn old_gnu_sparse_files_are_read() {
    let mut head = header(b"s", EntryType::GNUSparse, b"", Meta::mode(0o644), 10);
    let bytes = head.as_mut_bytes();
    for (slot, (offset, length)) in [(0, 4), (9000, 6), (20_000, 0)].into_iter().enumerate() {
        number(&mut bytes[386 + slot * 24..][..12], offset);
        number(&mut bytes[398 + slot * 24..][..12], length);
    }
    number(&mut bytes[483..495], 20_000);
    head.set_cksum();
    let files = files(&[Layer::new().raw_entry(&head, b"headmiddle").file("next", b"n")]);
    assert!(at(&files, "s").data == sparse_file());
    assert_eq!(at(&files, "next").data, b"n");
}

#[test]
fn old_gnu_sparse_files_with_more_than_four_runs_are_read() {
    let mut head = header(b"s", EntryType::GNUSparse, b"", Meta::mode(0o644), 60);
    let bytes = head.as_mut_bytes();
    for slot in 0..4 {
        number(&mut bytes[386 + slot * 24..][..12], slot as u64 * 10_000);
        number(&mut bytes[398 + slot * 24..][..12], 1);
    }
    bytes[482] = 1;
    number(&mut bytes[483..495], 600_000);
    head.set_cksum();
    let mut more = Vec::new();
    let mut slot = 4;
    for block in 0..3 {
        let mut extension = [0; 512];
        for place in 0..21 {
            if slot < 60 {
                number(&mut extension[place * 24..][..12], slot * 10_000);
                number(&mut extension[place * 24 + 12..][..12], 1);
                slot += 1;
            }
        }
        extension[504] = u8::from(block < 2);
        more.extend_from_slice(&extension);
    }
    let data: Vec<u8> = (1..=60).collect();
    more.extend_from_slice(&data);
    let files = files(&[Layer::new().append(head.as_bytes(), &more).file("next", b"n")]);
    let found = &at(&files, "s").data;
    assert_eq!(found.len(), 600_000);
    assert!((0..60).all(|i| found[i * 10_000] == i as u8 + 1));
    assert_eq!(found.iter().filter(|&&b| b != 0).count(), 60);
    assert_eq!(at(&files, "next").data, b"n");
}

#[test]
fn pax_sparse_files_0_0_are_read() {
    let head = header(b"s", EntryType::Regular, b"", Meta::mode(0o644), 10);
    let layer = Layer::new()
        .pax("GNU.sparse.size", b"20000")
        .pax("GNU.sparse.numblocks", b"2")
        .pax("GNU.sparse.offset", b"0")
        .pax("GNU.sparse.numbytes", b"4")
        .pax("GNU.sparse.offset", b"9000")
        .pax("GNU.sparse.numbytes", b"6");
    let files = files(&[layer.raw_entry(&head, b"headmiddle").file("next", b"n")]);
    assert!(at(&files, "s").data == sparse_file());
    assert_eq!(at(&files, "next").data, b"n");
}

#[test]
fn pax_sparse_files_0_1_are_read() {
    let head = header(b"GNUSparseFile.1/s", EntryType::Regular, b"", Meta::mode(0o644), 10);
    let layer = Layer::new()
        .pax("GNU.sparse.size", b"20000")
        .pax("GNU.sparse.numblocks", b"2")
        .pax("GNU.sparse.name", b"s")
        .pax("GNU.sparse.map", b"0,4,9000,6");
    let files = files(&[layer.raw_entry(&head, b"headmiddle").file("next", b"n")]);
    assert!(at(&files, "s").data == sparse_file());
    assert_eq!(names(&files), ["next", "s"]);
}

#[test]
fn pax_sparse_files_1_0_are_read() {
    let mut data = b"2\n0\n4\n9000\n6\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"headmiddle");
    let head = header(b"GNUSparseFile.1/s", EntryType::Regular, b"", Meta::mode(0o644), 522);
    let layer = Layer::new()
        .pax("GNU.sparse.major", b"1")
        .pax("GNU.sparse.minor", b"0")
        .pax("GNU.sparse.name", b"s")
        .pax("GNU.sparse.realsize", b"20000");
    let files = files(&[layer.raw_entry(&head, &data).file("next", b"n")]);
    assert!(at(&files, "s").data == sparse_file());
    assert_eq!(at(&files, "next").data, b"n");
}

#[test]
fn ustar_names_are_joined_from_prefix_and_name() {
    let mut head = Header::new_ustar();
    head.set_path(format!("{}/{}", "p".repeat(120), "n".repeat(90))).unwrap();
    head.set_entry_type(EntryType::Regular);
    head.set_mode(0o644);
    head.set_uid(0);
    head.set_gid(0);
    head.set_mtime(0);
    head.set_size(1);
    head.set_cksum();
    let files = files(&[Layer::new().raw_entry(&head, b"x")]);
    assert_eq!(at(&files, &format!("{}/{}", "p".repeat(120), "n".repeat(90))).data, b"x");
}

#[test]
fn the_time_gnu_keeps_where_ustar_has_its_prefix_is_no_part_of_the_name() {
    let mut head = header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 0);
    head.as_gnu_mut().unwrap().set_atime(1_700_000_000);
    head.set_cksum();
    assert_eq!(names(&files(&[Layer::new().raw_entry(&head, b"")])), ["f"]);
}

#[test]
fn a_long_name_wins_over_a_stale_prefix() {
    let mut head = Header::new_ustar();
    head.set_path(format!("{}/{}", "p".repeat(120), "n".repeat(90))).unwrap();
    head.set_entry_type(EntryType::Regular);
    head.set_mode(0o644);
    head.set_uid(0);
    head.set_gid(0);
    head.set_mtime(0);
    head.set_size(0);
    head.set_cksum();
    let pax = Layer::new().pax("path", b"right").raw_entry(&head, b"");
    assert_eq!(names(&files(&[pax])), ["right"]);
    let gnu = Layer::new().gnu_long(b'L', b"right").raw_entry(&head, b"");
    assert_eq!(names(&files(&[gnu])), ["right"]);
}

#[test]
fn a_v7_header_without_magic_is_read_and_a_slash_makes_a_directory() {
    let v7 = |name: &str, target: &str, kind: u8, size| {
        let mut head = Header::new_old();
        head.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        head.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        head.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        head.as_old_mut().linkflag = [kind];
        head.set_mode(0o644);
        head.set_uid(0);
        head.set_gid(0);
        head.set_mtime(0);
        head.set_size(size);
        head.set_cksum();
        head
    };
    let layer = Layer::new()
        .append(v7("dir/", "", 0, 0).as_bytes(), b"")
        .append(v7("dir/f", "", 0, 3).as_bytes(), b"abc")
        .append(v7("s", "dir", b'2', 0).as_bytes(), b"");
    let files = files(&[layer]);
    assert_eq!(names(&files), ["dir/", "dir/f", "s"]);
    assert_eq!(at(&files, "dir/f").data, b"abc");
}

#[test]
fn sizes_on_links_and_directories_bring_no_data() {
    let link = header(b"l", EntryType::Link, b"f", Meta::mode(0o644), 100);
    let directory = header(b"d", EntryType::Directory, b"", Meta::mode(0o755), 4096);
    let layer = Layer::new().file("f", b"x").raw_entry(&link, b"").raw_entry(&directory, b"");
    assert_eq!(names(&files(&[layer.file("g", b"")])), ["d/", "f", "g", "l"]);
}

#[test]
fn checksums_of_signed_bytes_are_accepted() {
    let mut head = header(b"\xe4\xf6\xfc", EntryType::Regular, b"", Meta::mode(0o644), 0);
    let bytes = head.as_mut_bytes();
    bytes[148..156].fill(b' ');
    let sum: i32 = bytes.iter().map(|&b| i32::from(b as i8)).sum();
    bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert_eq!(files(&[Layer::new().raw_entry(&head, b"")]).len(), 2);
}

#[test]
fn an_archive_may_end_without_zeros_and_may_be_followed_by_anything() {
    let layer = Layer::new().file("f", b"x");
    let mut one_block = layer.unfinished();
    one_block.resize(one_block.len() + 512, 0);
    let mut junk = layer.tar();
    junk.extend_from_slice(b"not a tar block");
    for archive in [layer.unfinished(), one_block, junk, Vec::new()] {
        convert_bytes(&[archive], &Limits::default()).unwrap();
    }
}

#[test]
fn what_follows_the_archive_is_read_for_the_digest() {
    struct Counted(std::io::Cursor<Vec<u8>>, std::rc::Rc<std::cell::Cell<usize>>);
    impl std::io::Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.set(self.1.get() + count);
            Ok(count)
        }
    }
    let mut archive = Layer::new().file("f", b"x").tar();
    archive.resize(archive.len() + 3_000_000, 7);
    let total = archive.len();
    let count = std::rc::Rc::default();
    let disk = crate::run::scratch_disk();
    let mut converter = image::Converter::new(disk, &Limits::default()).unwrap();
    converter
        .apply_layer(Counted(std::io::Cursor::new(archive), std::rc::Rc::clone(&count)))
        .unwrap();
    assert_eq!(count.get(), total);
}
