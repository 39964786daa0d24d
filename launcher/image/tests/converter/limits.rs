//! Every limit is enforced, at the value set, and named in its error.

use crate::build::{Layer, Meta, header};
use crate::run::{chain, convert_bytes};
use image::Limits;
use tar::EntryType;

/// `layers` pass with `enough` and fail with `short`, naming `limit`.
fn limited(limit: &str, layers: &[&Layer], enough: Limits, short: Limits) {
    let layers: Vec<Vec<u8>> = layers.iter().map(|layer| layer.tar()).collect();
    if let Err(error) = convert_bytes(&layers, &enough) {
        panic!("enough is refused: {}", chain(&error));
    }
    let error = chain(&convert_bytes(&layers, &short).expect_err("too much is refused"));
    assert!(error.contains(&format!("raise {limit} under [image.limits]")), "{error}");
}

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn bytes_of_a_layer_are_limited_also_behind_the_archive() {
    let layer = Layer::new().file("f", &[1; 5000]);
    let size = layer.tar().len() as u64;
    let [enough, short] =
        [size, size - 1].map(|max_layer_bytes| Limits { max_layer_bytes, ..limits() });
    limited("max_layer_bytes", &[&layer, &layer], enough, short.clone());
    let mut padded = Layer::new().tar();
    padded.resize(padded.len() + 10_000, 0);
    let error = convert_bytes(&[padded], &short).expect_err("endless padding is refused");
    assert!(chain(&error).contains("max_layer_bytes"));
}

#[test]
fn bytes_of_all_layers_together_are_limited() {
    let layer = Layer::new().file("f", &[1; 5000]);
    let size = layer.tar().len() as u64;
    let [enough, short] =
        [2 * size, 2 * size - 1].map(|max_image_bytes| Limits { max_image_bytes, ..limits() });
    limited("max_image_bytes", &[&layer, &layer], enough, short);
}

#[test]
fn steps_of_finding_places_are_limited_also_through_symlinks() {
    // Three on the way to each of three files, and five of the target of the link.
    let lower = Layer::new().directory("a/b/c").symlink("s", "a/./b/../b/c");
    let upper = Layer::new().file("s/f", b"").file("s/f", b"").file("s/f", b"");
    let at_most = |max_steps| Limits { max_steps, ..limits() };
    limited("max_steps", &[&lower, &upper], at_most(23), at_most(22));
    // What would cost hours: each entry looks up thousands of components.
    let target = "d/../".repeat(800) + "d";
    let links = (1..40).fold(Layer::new().directory("d"), |layer, number: u32| {
        layer.symlink(&format!("l{number}"), &format!("{target}/../l{}", number - 1))
    });
    let lower = links.symlink("l0", "d");
    let upper = (0..5000).fold(Layer::new(), |layer, _| layer.file("l39/f", b""));
    let error = convert_bytes(&[lower.tar(), upper.tar()], &at_most(1_000_000));
    let error = chain(&error.expect_err("refused"));
    assert!(error.contains("raise max_steps under [image.limits]"), "{error}");
}

#[test]
fn the_size_of_the_disk_is_limited_by_contents_and_by_metadata() {
    let disk = |blocks: u64| Limits { max_disk_bytes: blocks * 4096, ..limits() };
    // Superblock, two blocks of contents, one of inodes.
    let layer = Layer::new().file("f", &[1; 5000]);
    limited("max_disk_bytes", &[&layer], disk(4), disk(2));
    limited("max_disk_bytes", &[&layer], disk(4), disk(3));
}

#[test]
fn holes_of_sparse_files_count_against_the_disk() {
    let file = header(b"s", EntryType::Regular, b"", Meta::mode(0o644), 0);
    let layer = |real: &str| {
        let pax = Layer::new().pax("GNU.sparse.map", b"").pax("GNU.sparse.size", real.as_bytes());
        pax.raw_entry(&file, b"").tar()
    };
    convert_bytes(&[layer("1000000000")], &limits()).unwrap();
    for real in ["1000000000000", "18446744073709551615"] {
        let error = convert_bytes(&[layer(real)], &limits()).expect_err("refused");
        assert!(chain(&error).contains("max_disk_bytes"));
    }
}

#[test]
fn a_size_that_is_only_claimed_costs_nothing() {
    let mut head = header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 1 << 60);
    head.set_cksum();
    let error = convert_bytes(&[Layer::new().append(head.as_bytes(), b"x").tar()], &limits());
    assert!(chain(&error.expect_err("refused")).contains("max_disk_bytes"));
}

#[test]
fn entries_are_limited_over_all_layers() {
    let layer = Layer::new().file("a", b"").file("a", b"").file(".wh.b", b"");
    let [enough, short] = [6, 5].map(|max_entries| Limits { max_entries, ..limits() });
    limited("max_entries", &[&layer, &layer], enough, short);
}

#[test]
fn depth_is_limited_also_through_symlinks() {
    let [enough, short] = [4, 3].map(|max_depth| Limits { max_depth, ..limits() });
    limited("max_depth", &[&Layer::new().directory("a/b/c/d")], enough.clone(), short.clone());
    let lower = Layer::new().directory("a/b").symlink("s", "a/b");
    limited("max_depth", &[&lower, &Layer::new().directory("s/c/d")], enough, short);
}

#[test]
fn the_length_of_a_path_is_limited() {
    let [enough, short] = [9, 8].map(|max_path_bytes| Limits { max_path_bytes, ..limits() });
    limited("max_path_bytes", &[&Layer::new().file("dir/names", b"")], enough, short);
}

#[test]
fn pax_headers_and_long_names_are_limited() {
    let [enough, short] = [200, 199].map(|max_pax_bytes| Limits { max_pax_bytes, ..limits() });
    let name = [b'n'; 199];
    let layer = Layer::new().gnu_long(b'L', &name).file("x", b"");
    limited("max_pax_bytes", &[&layer], enough.clone(), short.clone());
    let layer = Layer::new()
        .pax("comment", &[b'c'; 200 - 13])
        .raw_entry(&header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 0), b"");
    limited("max_pax_bytes", &[&layer], enough, short);
}

#[test]
fn extended_attributes_are_limited_by_number_and_size() {
    let file = header(b"f", EntryType::Regular, b"", Meta::mode(0o644), 0);
    let layer = Layer::new()
        .pax("SCHILY.xattr.user.a", b"1234")
        .pax("SCHILY.xattr.user.b", b"1234")
        .raw_entry(&file, b"");
    let [enough, short] = [2, 1].map(|max_xattrs| Limits { max_xattrs, ..limits() });
    limited("max_xattrs", &[&layer], enough, short);
    let [enough, short] = [20, 19].map(|max_xattr_bytes| Limits { max_xattr_bytes, ..limits() });
    limited("max_xattr_bytes", &[&layer], enough, short);
}

#[test]
fn runs_of_a_sparse_file_are_limited() {
    let file = header(b"s", EntryType::Regular, b"", Meta::mode(0o644), 2);
    let layer = Layer::new()
        .pax("GNU.sparse.size", b"100")
        .pax("GNU.sparse.map", b"0,1,50,1")
        .raw_entry(&file, b"xy");
    let [enough, short] = [2, 1].map(|max_sparse_runs| Limits { max_sparse_runs, ..limits() });
    limited("max_sparse_runs", &[&layer], enough, short);
}

#[test]
fn memory_for_names_is_limited_but_what_is_gone_is_not_counted() {
    let name = |i| format!("{i:0>200}");
    let many = (0..1000).fold(Layer::new(), |layer, i| layer.file(&name(i), b""));
    let [enough, short] =
        [1 << 20, 1 << 18].map(|max_metadata_bytes| Limits { max_metadata_bytes, ..limits() });
    limited("max_metadata_bytes", &[&many], enough.clone(), short);
    let hide = Layer::new().file(".wh..wh..opq", b"");
    let layers: Vec<Vec<u8>> = (0..20).flat_map(|_| [many.tar(), hide.tar()]).collect();
    convert_bytes(&layers, &enough).unwrap();
}

#[test]
fn settings_files_may_name_some_limits_and_no_others() {
    let limits: Limits = serde_json::from_str(r#"{"max_entries": 5}"#).unwrap();
    assert_eq!(limits, Limits { max_entries: 5, ..Limits::default() });
    let error = serde_json::from_str::<Limits>(r#"{"max_entrys": 5}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `max_entrys`"), "{error}");
}
