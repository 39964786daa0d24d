//! Attributes on the disk: owners, permissions, times, devices, extended attributes, and names.

use crate::build::{Layer, Meta, header};
use crate::run::{at, files, names};
use tar::EntryType;

fn with(meta: Meta) -> Layer {
    Layer::new().entry("f", EntryType::Regular, "", meta, b"data")
}

#[test]
fn setuid_setgid_and_sticky_bits_are_kept() {
    for mode in [0o4755, 0o2755, 0o1777, 0o7777, 0o000] {
        let found = files(&[with(Meta::mode(mode))]);
        assert_eq!(u32::from(at(&found, "f").mode), 0o100_000 | mode);
    }
}

#[test]
fn kind_bits_in_the_mode_field_mean_nothing() {
    let found = files(&[with(Meta::mode(0o120_755))]);
    assert_eq!(at(&found, "f").mode, 0o100_755);
}

#[test]
fn owners_reach_the_last_one_linux_has() {
    for id in [0, 65_535, 65_536, 2_097_151, 2_097_152, 4_294_967_294] {
        let found = files(&[with(Meta { mode: 0o644, uid: id, gid: id, mtime: 0 })]);
        let (uid, gid) = (at(&found, "f").uid, at(&found, "f").gid);
        assert_eq!((u64::from(uid), u64::from(gid)), (id, id));
    }
}

#[test]
fn pax_records_override_owner_time_size_and_name() {
    let layer = Layer::new()
        .pax("uid", b"3000000000")
        .pax("gid", b"70000")
        .pax("mtime", b"1350244992.023960108")
        .pax("path", b"a/real-name")
        .pax("uname", b"nobody")
        .pax("size", b"5")
        .append(&[], &[]);
    let wrong_size = header(b"wrong", EntryType::Regular, b"", Meta::mode(0o600), 0);
    let files = files(&[layer.raw_entry(&wrong_size, b"12345").file("next", b"")]);
    let found = at(&files, "a/real-name");
    assert_eq!((found.uid, found.gid), (3_000_000_000, 70_000));
    assert_eq!(found.mtime, (1_350_244_992, 23_960_108));
    assert_eq!(found.data, b"12345");
    assert_eq!(names(&files), ["a/", "a/real-name", "next"]);
}

#[test]
fn times_before_1970_and_far_ahead_are_kept() {
    for (text, expect) in [
        ("-1.5", (-2, 500_000_000)),
        ("-62135596800", (-62_135_596_800, 0)),
        ("253402300799.999999999", (253_402_300_799, 999_999_999)),
    ] {
        let file = header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 0);
        let files = files(&[Layer::new().pax("mtime", text.as_bytes()).raw_entry(&file, b"")]);
        assert_eq!(at(&files, "f").mtime, expect);
    }
    let mut negative = header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 0);
    negative.as_old_mut().mtime = [0xff; 12];
    negative.set_cksum();
    assert_eq!(at(&files(&[Layer::new().raw_entry(&negative, b"")]), "f").mtime, (-1, 0));
}

#[test]
fn a_pax_header_counts_for_one_entry_and_a_global_one_for_none() {
    let plain = header(b"first", EntryType::Regular, b"", Meta::mode(0o644), 0);
    let layer = Layer::new()
        .pax_header(b'g', &crate::build::record("uid", b"9"))
        .pax("uid", b"5")
        .raw_entry(&plain, b"")
        .file("second", b"");
    let files = files(&[layer]);
    assert_eq!((at(&files, "first").uid, at(&files, "second").uid), (5, 0));
}

#[test]
fn devices_keep_large_numbers() {
    let layer = Layer::new()
        .device("null", EntryType::Char, 1, 3)
        .device("tty", EntryType::Char, 4, 300)
        .device("last", EntryType::Block, 0xfff, 0xf_ffff);
    let files = files(&[layer]);
    assert_eq!((at(&files, "null").mode, at(&files, "null").device), (0o020_644, (1, 3)));
    assert_eq!(at(&files, "tty").device, (4, 300));
    assert_eq!(
        (at(&files, "last").mode, at(&files, "last").device),
        (0o060_644, (0xfff, 0xf_ffff))
    );
}

#[test]
fn extended_attributes_of_every_kind_the_kernel_has_are_kept() {
    let capability =
        b"\x01\x00\x00\x02\x00\x04\x00\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let layer = Layer::new()
        .pax("SCHILY.xattr.security.capability", capability)
        .pax("SCHILY.xattr.user.empty", b"")
        .pax("SCHILY.xattr.user.odd=name", b"v=1\n2")
        .pax("SCHILY.xattr.trusted.t", b"t")
        .pax("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0acl")
        .pax("SCHILY.xattr.system.posix_acl_default", b"\x02\0\0\0dfl")
        .pax("SCHILY.xattr.btrfs.compression", b"zstd")
        .pax("SCHILY.xattr.trusted.overlay.opaque", b"y");
    // A record's key ends at its first `=`, so such a name cannot be told apart.
    let directory = header(b"d", EntryType::Directory, b"", Meta::mode(0o755), 0);
    let files = files(&[layer.raw_entry(&directory, b"")]);
    let xattrs = &at(&files, "d").xattrs;
    let expect: [(&str, &[u8]); 6] = [
        ("security.capability", capability),
        ("system.posix_acl_access", b"\x02\0\0\0acl"),
        ("system.posix_acl_default", b"\x02\0\0\0dfl"),
        ("trusted.t", b"t"),
        ("user.empty", b""),
        ("user.odd", b"name=v=1\n2"),
    ];
    let found: Vec<(&str, &[u8])> = xattrs.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(found, expect);
}

#[test]
fn a_directory_entry_replaces_extended_attributes_too() {
    let directory = header(b"d", EntryType::Directory, b"", Meta::mode(0o755), 0);
    let lower = Layer::new().pax("SCHILY.xattr.user.a", b"1").raw_entry(&directory, b"");
    assert!(at(&files(&[lower, Layer::new().directory("d")]), "d").xattrs.is_empty());
}

#[test]
fn a_value_may_be_as_long_as_the_kernel_reads() {
    let value = vec![b'v'; 65_535];
    let file = header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 0);
    let layer = Layer::new().pax("SCHILY.xattr.user.long", &value).raw_entry(&file, b"");
    assert_eq!(at(&files(&[layer]), "f").xattrs["user.long"], value);
}

#[test]
fn names_of_any_bytes_and_up_to_255_of_them_are_kept() {
    let long = "n".repeat(255);
    let hundred = "h".repeat(100);
    let odd = b"\xff\xfe\x01 \n\\*";
    let layer = Layer::new()
        .file(&long, b"")
        .file(&hundred, b"100")
        .entry_bytes(odd, EntryType::Regular, b"", Meta::mode(0o644), b"odd")
        .file("!before-the-dots", b"")
        .file("-", b"");
    let files = files(&[layer]);
    assert_eq!(files[long.as_bytes()].data, b"");
    assert_eq!(files[hundred.as_bytes()].data, b"100");
    assert_eq!(files[&odd[..]].data, b"odd");
}

#[test]
fn link_targets_are_kept_up_to_4095_bytes() {
    let mut layer = Layer::new();
    for length in [1, 99, 100, 101, 3000, 4000, 4030, 4032, 4033, 4064, 4095] {
        layer = layer.symlink(&format!("s{length}"), &"t".repeat(length));
    }
    let files = files(&[layer]);
    for (path, found) in files.iter().filter(|(path, _)| !path.is_empty()) {
        assert_eq!(found.mode, 0o120_777);
        assert_eq!(format!("s{}", found.data.len()).as_bytes(), path);
    }
}

#[test]
fn a_hard_link_of_100_bytes_is_read_whole() {
    let target = format!("{}/{}", "d".repeat(49), "f".repeat(50));
    assert_eq!(target.len(), 100);
    let files = files(&[Layer::new().file(&target, b"x").hard_link("again", &target)]);
    assert_eq!(at(&files, "again").links, 2);
}

#[test]
fn large_directories_span_blocks() {
    let mut layer = Layer::new();
    for i in 0..3000 {
        layer = layer.file(&format!("d/{i}-{}", "x".repeat(i % 200)), b"");
        layer = layer.directory(&format!("e/{i}"));
    }
    let files = files(&[layer]);
    assert_eq!(files.len(), 1 + 2 + 6000);
    assert_eq!(at(&files, "e").links, 3002);
}

#[test]
fn contents_of_all_sizes_around_blocks_and_buffers_are_kept() {
    let mut layer = Layer::new();
    let pattern: Vec<u8> =
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sizes =
        [0, 1, 511, 512, 4095, 4096, 4097, 65_536, 1_048_575, 1_048_576, 1_048_577, 2_999_999];
    for size in sizes {
        layer = layer.file(&format!("f{size}"), &pattern[..size]);
    }
    let files = files(&[layer]);
    for size in sizes {
        assert!(at(&files, &format!("f{size}")).data == pattern[..size], "{size}");
    }
}
