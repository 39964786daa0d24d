//! Arbitrary and damaged bytes: no panic, no endless loop, no disk past its limit.

use crate::build::{Layer, Meta, header};
use crate::reader;
use crate::run::{contents, convert_bytes};
use image::Limits;
use proptest::prelude::*;
use tar::EntryType;

const SMALL: u64 = 1 << 20;

/// Converts and, where that works, holds the disk against the reader.
fn survive(layers: &[Vec<u8>]) {
    let limits = Limits { max_disk_bytes: SMALL, max_layer_bytes: SMALL, ..Limits::default() };
    if let Ok((file, _)) = convert_bytes(layers, &limits) {
        assert!(file.metadata().unwrap().len() <= SMALL);
        reader::read(&contents(&file));
    }
}

/// An archive with one of everything, to be damaged.
fn sample() -> Vec<u8> {
    let file = |size| header(b"s", EntryType::Regular, b"", Meta::mode(0o644), size);
    let mut map = b"1\n100\n4\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"data");
    let mut old = header(b"o", EntryType::GNUSparse, b"", Meta::mode(0o644), 0);
    old.as_mut_bytes()[482] = 1;
    old.set_cksum();
    Layer::new()
        .directory("d")
        .file("d/f", &[1; 700])
        .gnu_long(b'L', &[b'n'; 150])
        .file("x", b"long")
        .pax("SCHILY.xattr.user.a", b"value")
        .pax("mtime", b"-1.5")
        .raw_entry(&file(3), b"abc")
        .pax("GNU.sparse.major", b"1")
        .pax("GNU.sparse.minor", b"0")
        .pax("GNU.sparse.realsize", b"9000")
        .raw_entry(&file(516), &map)
        .pax("GNU.sparse.size", b"50")
        .pax("GNU.sparse.map", b"1,2,10,3")
        .raw_entry(&file(5), b"12345")
        .append(old.as_bytes(), &[0; 512])
        .hard_link("h", "d/f")
        .symlink("l", "d")
        .file("d/.wh.f", b"")
        .file("d/.wh..wh..opq", b"")
        .device("c", EntryType::Char, 1, 300)
        .tar()
}

/// Makes all header checksums right again, so that damage gets past the first check.
fn mend(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        survive(&[bytes]);
    }

    #[test]
    fn damaged_archives_do_no_harm(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut archive = sample();
        for (place, byte) in damage {
            let place = place.index(archive.len());
            archive[place] = byte;
        }
        mend(&mut archive);
        if !whole {
            archive.truncate(cut.index(archive.len()));
        }
        survive(&[sample(), archive.clone(), archive]);
    }

    #[test]
    fn damaged_number_fields_do_no_harm(
        entry in 0..40_usize,
        field in prop::sample::select(vec![(100, 8), (108, 8), (116, 8), (124, 12), (136, 12),
            (329, 8), (337, 8), (386, 12), (398, 12), (483, 12)]),
        bytes in prop::array::uniform12(any::<u8>()),
        binary in any::<bool>(),
    ) {
        let mut archive = sample();
        let start = entry * 512 + field.0;
        if start + field.1 <= archive.len() {
            archive[start..start + field.1].copy_from_slice(&bytes[..field.1]);
            if binary {
                archive[start] |= 0x80;
            }
            mend(&mut archive);
        }
        survive(&[archive]);
    }
}
