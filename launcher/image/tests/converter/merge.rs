//! How layers merge: whiteouts, replacement, links across layers.

use crate::build::{Layer, Meta};
use crate::run::{at, contents, convert, files, names};
use tar::EntryType;

fn base() -> Layer {
    Layer::new()
        .directory("./")
        .directory("etc/")
        .file("etc/passwd", b"root")
        .file("etc/hosts", b"localhost")
        .directory("opt/")
        .directory("opt/app/")
        .file("opt/app/a", b"a")
        .file("opt/app/b", b"b")
        .symlink("run", "var/run")
        .file("plain", b"plain")
}

#[test]
fn an_image_without_layers_is_an_empty_root() {
    let files = files(&[]);
    assert_eq!(files.len(), 1);
    let root = &files[&b""[..]];
    assert_eq!((root.mode, root.uid, root.gid, root.links), (0o040_755, 0, 0, 2));
}

#[test]
fn equal_layers_give_equal_bytes() {
    let layers = [base(), Layer::new().file("etc/.wh.hosts", b"").file("new", &[7; 9000])];
    let one = contents(&convert(&layers).unwrap());
    let two = contents(&convert(&layers).unwrap());
    assert!(one == two);
}

#[test]
fn a_whiteout_hides_a_file_and_a_whole_directory() {
    let upper =
        Layer::new().file("etc/.wh.hosts", b"").file("opt/.wh.app", b"").file(".wh.run", b"");
    assert_eq!(names(&files(&[base(), upper])), ["etc/", "etc/passwd", "opt/", "plain"]);
}

#[test]
fn a_whiteout_never_shows_and_never_makes_its_directory() {
    let upper = Layer::new().file("none/at/all/.wh.x", b"").file("none/.wh..wh..opq", b"");
    assert_eq!(files(&[base(), upper]), files(&[base()]));
}

#[test]
fn a_whiteout_spares_what_its_own_layer_brings_before_or_after_it() {
    for upper in [
        Layer::new().file("etc/.wh.hosts", b"").file("etc/hosts", b"new"),
        Layer::new().file("etc/hosts", b"new").file("etc/.wh.hosts", b""),
    ] {
        assert_eq!(at(&files(&[base(), upper]), "etc/hosts").data, b"new");
    }
}

#[test]
fn a_whiteout_of_a_directory_spares_only_the_files_its_layer_puts_in() {
    for upper in [
        Layer::new().file("opt/.wh.app", b"").directory("opt/app").file("opt/app/c", b"c"),
        Layer::new().directory("opt/app").file("opt/app/c", b"c").file("opt/.wh.app", b""),
        Layer::new().directory("opt/app").file("opt/.wh.app", b"").file("opt/app/c", b"c"),
    ] {
        let files = files(&[base(), upper]);
        assert_eq!(
            names(&files),
            ["etc/", "etc/hosts", "etc/passwd", "opt/", "opt/app/", "opt/app/c", "plain", "run"]
        );
        assert_eq!(at(&files, "opt/app").mtime, (1_700_000_000, 0));
    }
}

#[test]
fn a_directory_that_only_its_new_files_keep_loses_what_described_it() {
    let lower = Layer::new().entry("d", EntryType::Directory, "", Meta::mode(0o1777), b"");
    let upper = Layer::new().file("d/new", b"").file(".wh.d", b"");
    let files = files(&[lower, upper]);
    assert_eq!(names(&files), ["d/", "d/new"]);
    assert_eq!(at(&files, "d").mode, 0o040_755);
}

#[test]
fn an_opaque_directory_hides_all_lower_files_wherever_the_marker_stands() {
    for upper in [
        Layer::new().directory("opt/app").file("opt/app/.wh..wh..opq", b"").file("opt/app/c", b""),
        Layer::new().directory("opt/app").file("opt/app/c", b"").file("opt/app/.wh..wh..opq", b""),
        Layer::new().file("opt/app/c", b"").file("opt/.wh..wh..opq", b""),
        Layer::new().file("opt/.wh..wh..opq", b"").file("opt/app/c", b""),
    ] {
        let names = names(&files(&[base(), upper]));
        assert!(names.contains(&"opt/app/c".to_owned()), "{names:?}");
        assert!(!names.contains(&"opt/app/a".to_owned()), "{names:?}");
        assert!(names.contains(&"etc/hosts".to_owned()), "{names:?}");
    }
}

#[test]
fn an_opaque_root_hides_everything_lower() {
    let upper = Layer::new().file("./.wh..wh..opq", b"").file("only", b"");
    assert_eq!(names(&files(&[base(), upper])), ["only"]);
}

#[test]
fn an_opaque_directory_keeps_its_own_attributes() {
    let lower = Layer::new().entry("d", EntryType::Directory, "", Meta::mode(0o700), b"");
    let upper = Layer::new().file("d/.wh..wh..opq", b"");
    assert_eq!(at(&files(&[lower, upper]), "d").mode, 0o040_700);
}

#[test]
fn a_file_hidden_in_one_layer_comes_back_in_the_next() {
    let hide = Layer::new().file("etc/.wh.hosts", b"");
    let back = Layer::new().file("etc/hosts", b"again");
    assert_eq!(at(&files(&[base(), hide, back]), "etc/hosts").data, b"again");
}

#[test]
fn a_character_device_0_0_is_a_device_and_no_whiteout() {
    let upper = Layer::new().device("plain", EntryType::Char, 0, 0);
    let files = files(&[base(), upper]);
    assert_eq!(at(&files, "plain").mode, 0o020_644);
    assert_eq!(at(&files, "plain").device, (0, 0));
}

#[test]
fn the_notes_aufs_left_in_old_layers_are_skipped() {
    let upper = Layer::new()
        .directory(".wh..wh.plnk")
        .file(".wh..wh.plnk/12.34", b"")
        .file(".wh..wh.aufs", b"")
        .directory(".wh..wh.orph");
    assert_eq!(files(&[base(), upper]), files(&[base()]));
}

#[test]
fn a_directory_over_a_directory_changes_attributes_and_keeps_the_files() {
    let meta = Meta { mode: 0o2750, uid: 7, gid: 8, mtime: 42 };
    let upper = Layer::new().entry("opt/app", EntryType::Directory, "", meta, b"");
    let files = files(&[base(), upper]);
    let app = at(&files, "opt/app");
    assert_eq!((app.mode, app.uid, app.gid, app.mtime), (0o042_750, 7, 8, (42, 0)));
    assert_eq!(at(&files, "opt/app/a").data, b"a");
}

#[test]
fn anything_but_a_directory_over_a_directory_replaces_all_of_it() {
    for upper in [
        Layer::new().file("opt", b"file"),
        Layer::new().symlink("opt", "etc"),
        Layer::new().fifo("opt"),
        Layer::new().hard_link("opt", "plain"),
    ] {
        let names = names(&files(&[base(), upper]));
        assert_eq!(names, ["etc/", "etc/hosts", "etc/passwd", "opt", "plain", "run"]);
    }
}

#[test]
fn a_directory_over_anything_else_replaces_it_also_over_a_symlink_to_a_directory() {
    let lower = base().symlink("link", "etc");
    let upper = Layer::new().directory("plain").directory("link").file("link/x", b"");
    let files = files(&[lower, upper]);
    assert_eq!(at(&files, "plain").mode, 0o040_755);
    assert_eq!(at(&files, "link").mode, 0o040_755);
    assert!(!names(&files).contains(&"etc/x".to_owned()));
}

#[test]
fn of_two_entries_with_one_name_the_last_wins() {
    let layer = Layer::new()
        .file("x", b"first")
        .directory("x")
        .file("x/below", b"")
        .file("x", b"last")
        .file("./x", b"very last");
    let files = files(&[layer]);
    assert_eq!(names(&files), ["x"]);
    assert_eq!(at(&files, "x").data, b"very last");
}

#[test]
fn missing_parents_are_0755_and_roots() {
    let meta = Meta { mode: 0o600, uid: 33, gid: 33, mtime: 5 };
    let files = files(&[Layer::new().entry("a/b/c", EntryType::Regular, "", meta, b"x")]);
    for parent in ["a", "a/b"] {
        let found = at(&files, parent);
        assert_eq!((found.mode, found.uid, found.gid, found.mtime), (0o040_755, 0, 0, (0, 0)));
    }
}

#[test]
fn the_entry_of_the_root_sets_its_attributes() {
    for name in ["./", "/", "."] {
        let meta = Meta { mode: 0o1711, uid: 3, gid: 4, mtime: 99 };
        let files = files(&[Layer::new().entry(name, EntryType::Directory, "", meta, b"")]);
        let root = &files[&b""[..]];
        assert_eq!((root.mode, root.uid, root.gid, root.mtime), (0o041_711, 3, 4, (99, 0)));
    }
}

#[test]
fn hard_links_join_names_within_a_layer_and_across_layers() {
    let lower = base().hard_link("etc/hosts2", "etc/hosts");
    let upper = Layer::new().hard_link("hosts3", "./etc/hosts").hard_link("hosts4", "/hosts3");
    let files = files(&[lower, upper]);
    let nid = at(&files, "etc/hosts").nid;
    for name in ["etc/hosts2", "hosts3", "hosts4"] {
        assert_eq!(at(&files, name).nid, nid);
    }
    assert_eq!(at(&files, "hosts4").links, 4);
    assert_eq!(at(&files, "hosts4").data, b"localhost");
}

#[test]
fn a_hard_link_outlives_the_name_it_was_made_from() {
    let upper = Layer::new().hard_link("kept", "etc/hosts").file("etc/.wh.hosts", b"");
    let files = files(&[base(), upper]);
    assert_eq!(at(&files, "kept").data, b"localhost");
    assert_eq!(at(&files, "kept").links, 1);
    assert!(!names(&files).contains(&"etc/hosts".to_owned()));
}

#[test]
fn replacing_one_name_of_a_file_leaves_the_others() {
    let lower = base().hard_link("etc/hosts2", "etc/hosts");
    let files = files(&[lower, Layer::new().file("etc/hosts", b"new")]);
    assert_eq!(at(&files, "etc/hosts").data, b"new");
    assert_eq!(at(&files, "etc/hosts2").data, b"localhost");
}

#[test]
fn a_hard_link_takes_no_attributes_of_its_own_entry() {
    let meta = Meta { mode: 0o777, uid: 9, gid: 9, mtime: 9 };
    let layer = base().entry("again", EntryType::Link, "plain", meta, b"");
    let files = files(&[layer]);
    assert_eq!((at(&files, "again").mode, at(&files, "again").uid), (0o100_644, 0));
}

#[test]
fn symlinks_and_fifos_can_have_hard_links() {
    let layer =
        Layer::new().symlink("s", "nowhere").hard_link("s2", "s").fifo("f").hard_link("f2", "f");
    let files = files(&[layer]);
    assert_eq!(at(&files, "s2").nid, at(&files, "s").nid);
    assert_eq!(at(&files, "f2").links, 2);
}

#[test]
fn relinking_a_name_to_its_own_file_changes_nothing() {
    let layer =
        Layer::new().file("a", b"x").hard_link("b", "a").hard_link("b", "a").hard_link("a", "b");
    let files = files(&[layer]);
    assert_eq!(at(&files, "a").links, 2);
    assert_eq!(at(&files, "b").data, b"x");
}

#[test]
fn a_symlink_of_a_lower_layer_is_followed_inside_the_image() {
    let lower = Layer::new()
        .directory("run")
        .directory("usr")
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .directory("var")
        .symlink("var/run", "/run")
        .symlink("up", "../../../usr")
        .file("usr/lib/old", b"");
    let upper = Layer::new()
        .file("lib/libx.so", b"x")
        .file("var/run/ko/data", b"ko")
        .file("up/share", b"s")
        .file("lib/.wh.old", b"")
        .hard_link("y", "lib/libx.so");
    let files = files(&[lower, upper]);
    let names = names(&files);
    for name in ["usr/lib/libx.so", "run/ko/data", "usr/share", "y", "lib", "var/run"] {
        assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
    }
    assert!(!names.contains(&"usr/lib/old".to_owned()));
}

#[test]
fn absolute_names_are_taken_from_the_images_root() {
    let files = files(&[Layer::new().file("/app/main", b"x").hard_link("/second", "/app/main")]);
    assert_eq!(names(&files), ["app/", "app/main", "second"]);
}
