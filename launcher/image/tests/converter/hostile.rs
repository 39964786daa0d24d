//! What hostile and broken layers get: one clear error each.

use crate::build::{Layer, Meta, header};
use crate::run::{chain, convert_bytes, failure};
use image::Limits;
use tar::EntryType;

/// The layer fails and the error holds all of `parts`.
fn refused(layers: &[Layer], parts: &[&str]) {
    let error = failure(layers);
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

fn broken(archive: Vec<u8>, part: &str) {
    match convert_bytes(&[archive], &Limits::default()) {
        Ok(_) => panic!("the conversion went well instead of: {part}"),
        Err(error) => {
            let error = chain(&error);
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

#[test]
fn a_name_with_more_dot_dots_than_folders_stays_inside_the_image() {
    for name in ["../x", "a/../../x", "/../x", "../../../../x"] {
        let files = crate::run::files(&[Layer::new().file(name, b"")]);
        assert_eq!(crate::run::names(&files), ["x"], "{name}");
        let files = crate::run::files(&[Layer::new().file("x", b"").hard_link("l", name)]);
        assert_eq!(crate::run::names(&files), ["l", "x"], "{name}");
    }
    for name in ["a/..", "..", "/../"] {
        refused(&[Layer::new().file(name, b"")], &["root"]);
    }
}

#[test]
fn the_error_names_layer_and_entry() {
    let error = failure(&[Layer::new(), Layer::new().file("f", b"").file("f/a\n", b"")]);
    assert_eq!(
        error,
        "bad entry `f/a\\n` in layer 2 of the image: `f` on its path is not a directory"
    );
}

#[test]
fn writing_through_a_symlink_of_the_same_layer_stays_inside_the_image() {
    for (target, path) in [("/etc", "etc/f"), ("../../..", "f"), ("/", "f"), ("d", "d/f")] {
        let base = || Layer::new().directory("d").symlink("x", target);
        for upper in [base().file("x/f", b""), base().fifo("x/f"), base().directory("x/f")] {
            crate::run::at(&crate::run::files(&[upper]), path);
        }
    }
    let upper = Layer::new().symlink("x", "x").file("x/f", b"");
    refused(&[upper], &["`x`", "round in a circle"]);
}

#[test]
fn symlinks_of_lower_layers_that_go_in_circles_are_refused() {
    let lower = Layer::new().symlink("a", "b").symlink("b", "a").symlink("c", "c/c");
    refused(&[lower.clone(), Layer::new().file("a/f", b"")], &["circle"]);
    refused(&[lower, Layer::new().file("c/f", b"")], &["circle"]);
}

#[test]
fn a_symlink_out_of_the_image_leads_to_a_place_inside_it() {
    let lower = Layer::new().symlink("out", "../../../../tmp/x");
    let files = crate::run::files(&[lower, Layer::new().file("out/f", b"")]);
    assert_eq!(crate::run::names(&files), ["out", "tmp/", "tmp/x/", "tmp/x/f"]);
}

#[test]
fn a_path_through_a_file_is_refused() {
    refused(&[Layer::new().file("f", b"").file("f/x", b"")], &["`f`", "not a directory"]);
    let lower = Layer::new().fifo("f");
    refused(&[lower, Layer::new().file("f/x/y", b"")], &["`f`", "not a directory"]);
}

#[test]
fn hard_links_to_nothing_directories_or_themselves_are_refused() {
    let base = || Layer::new().directory("d").file("d/f", b"");
    refused(&[base().hard_link("l", "none")], &["`none`", "does not exist"]);
    refused(&[base().hard_link("l", "none/f")], &["`none/f`", "does not exist"]);
    refused(&[base().hard_link("l", "d")], &["`d`", "is a directory"]);
    refused(&[base().hard_link("l", "/")], &["is a directory"]);
    refused(&[base().hard_link("l", "l")], &["does not exist"]);
    refused(&[base(), Layer::new().hard_link("d/f", "d/f")], &["points to itself"]);
    refused(&[base().hard_link("a", "b").hard_link("b", "a")], &["`b`", "does not exist"]);
    refused(&[base().hard_link("d", "d/f")], &["`d/f`", "does not exist"]);
    refused(&[base().file("x", b"").hard_link("l", "x/f")], &["not a directory"]);
    refused(&[base().hard_link("l", "")], &["empty"]);
}

#[test]
fn a_hard_link_to_what_its_layer_hid_is_refused() {
    let upper = Layer::new().file(".wh.f", b"").hard_link("l", "f");
    refused(&[Layer::new().file("f", b""), upper], &["`f`", "does not exist"]);
}

#[test]
fn whiteouts_of_no_name_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."] {
        refused(&[Layer::new().directory("d"), Layer::new().file(name, b"")], &["whiteout"]);
    }
}

#[test]
fn files_below_a_whiteout_are_refused() {
    refused(&[Layer::new().file(".wh.d/f", b"")], &["`.wh.`"]);
}

#[test]
fn the_root_can_only_be_a_directory() {
    refused(&[Layer::new().file("./", b"")], &["root"]);
    refused(&[Layer::new().symlink("/", "etc")], &["root"]);
    refused(&[Layer::new().file("f", b"").hard_link(".", "f")], &["root"]);
}

#[test]
fn odd_entry_types_are_refused() {
    for kind in *b"DMNV8AZ" {
        let head = header(b"x", EntryType::new(kind), b"", Meta::mode(0o644), 0);
        refused(&[Layer::new().raw_entry(&head, b"")], &["entry type"]);
    }
}

#[test]
fn empty_and_endless_link_targets_are_refused() {
    refused(&[Layer::new().symlink("s", "")], &["symbolic link has no usable target"]);
    refused(&[Layer::new().symlink("s", &"t".repeat(4096))], &["usable target"]);
}

#[test]
fn names_that_are_empty_or_too_long_are_refused() {
    refused(&[Layer::new().file("", b"")], &["empty"]);
    refused(&[Layer::new().file(&"n".repeat(256), b"")], &["255"]);
    let deep = "d/".repeat(3000);
    refused(&[Layer::new().file(&deep, b"")], &["max_path_bytes"]);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let file = |uid, gid| Meta { mode: 0o644, uid, gid, mtime: 0 };
    for (uid, gid, part) in [(1 << 32, 0, "uid"), (0, 1 << 40, "gid"), (0xffff_ffff, 0, "uid")] {
        let layer = Layer::new().entry("f", EntryType::Regular, "", file(uid, gid), b"");
        refused(&[layer], &[part, "out of range"]);
    }
    let device = Layer::new().device("d", EntryType::Char, 4096, 0);
    refused(&[device], &["devmajor", "4096"]);
    let device = Layer::new().device("d", EntryType::Block, 1, 1 << 20);
    refused(&[device], &["devminor"]);
}

#[test]
fn truncated_archives_are_refused_wherever_they_end() {
    let whole = Layer::new()
        .gnu_long(b'L', &[b'n'; 120])
        .file("f", &[7; 1500])
        .pax("uid", b"1")
        .raw_entry(&header(b"g", EntryType::Regular, b"", Meta::mode(0o644), 600), &[8; 600])
        .unfinished();
    // Between whole entries an end is an end, as for Docker; everywhere else data is missing.
    let clean = [0, 512 * 6, whole.len()];
    for end in (0..whole.len()).step_by(100).chain((0..whole.len()).step_by(512)) {
        if !clean.contains(&end) {
            broken(whole[..end].to_vec(), "ends in the middle");
        }
    }
}

#[test]
fn a_header_with_a_wrong_checksum_is_refused() {
    let mut archive = Layer::new().file("f", b"").file("g", b"").tar();
    archive[513] ^= 1;
    broken(
        archive,
        "cannot read layer 1 of the image after `f`: a tar header has a wrong checksum",
    );
    broken(vec![b'x'; 2048], "not a tar archive");
    broken(b"\x1f\x8b\x08".repeat(1000), "not a tar archive");
}

#[test]
fn a_lone_block_of_zeros_is_refused() {
    let mut archive = vec![0; 512];
    archive.extend_from_slice(&Layer::new().file("f", b"").tar());
    broken(archive, "block of zeros");
}

#[test]
fn damaged_sparse_maps_are_refused() {
    let file = |size| header(b"s", EntryType::Regular, b"", Meta::mode(0o644), size);
    let v01 = |map: &str, real: &str, size: u64| {
        Layer::new()
            .pax("GNU.sparse.size", real.as_bytes())
            .pax("GNU.sparse.map", map.as_bytes())
            .raw_entry(&file(size), &vec![1; usize::try_from(size).unwrap()])
    };
    for (map, real, size) in [
        ("0,4,2,4", "100", 8),
        ("0,4,90,20", "100", 24),
        ("0,4", "100", 5),
        ("0,4,5", "100", 4),
        ("x", "100", 4),
        ("0,4", "3", 4),
        ("18446744073709551615,1", "100", 1),
    ] {
        refused(&[v01(map, real, size)], &["sparse file"]);
    }
    let v10 = |text: &[u8]| {
        Layer::new()
            .pax("GNU.sparse.major", b"1")
            .pax("GNU.sparse.minor", b"0")
            .pax("GNU.sparse.realsize", b"1000")
            .raw_entry(&file(text.len() as u64), text)
    };
    for text in [&b""[..], &[b'1'; 512], &[b'\n'; 512], b"1\n0\n", &[0; 512]] {
        refused(&[v10(text)], &["sparse file"]);
    }
    let unknown = Layer::new().pax("GNU.sparse.major", b"2").pax("GNU.sparse.minor", b"7");
    refused(&[unknown.raw_entry(&file(0), b"")], &["2.7"]);
}

#[test]
fn damaged_pax_headers_are_refused() {
    for records in [&b"nonsense"[..], b"999 path=x\n", b"8 path=x\n", b"11 path\0xx\n"] {
        refused(&[Layer::new().pax_header(b'x', records).file("f", b"")], &["PAX"]);
    }
    refused(&[Layer::new().pax("size", b"-5").file("f", b"")], &[]);
    let long = vec![b'v'; 65_536];
    let file = header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 0);
    let layer = Layer::new().pax("SCHILY.xattr.user.long", &long).raw_entry(&file, b"");
    refused(&[layer], &["user.long", "65535"]);
}

#[test]
fn after_an_error_the_converter_gives_no_disk() {
    let disk = crate::run::scratch_disk();
    let mut converter = image::Converter::new(disk, &Limits::default()).unwrap();
    let error = chain(&converter.apply_layer(&b"short"[..]).unwrap_err());
    assert!(error.contains("layer 1 of the image"), "{error}");
    assert!(matches!(converter.apply_layer(&[][..]), Err(image::ConvertError::Failed)));
    assert!(matches!(converter.finish(), Err(image::ConvertError::Failed)));
}

#[test]
fn an_error_of_the_reader_is_passed_on() {
    struct Fails;
    impl std::io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the digest is wrong"))
        }
    }
    let disk = crate::run::scratch_disk();
    let mut converter = image::Converter::new(disk, &Limits::default()).unwrap();
    let error = chain(&converter.apply_layer(Fails).unwrap_err());
    assert_eq!(error, "cannot read layer 1 of the image: it cannot be read: the digest is wrong");
}
