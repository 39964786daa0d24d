//! Sets of layers that other programs judge too: no hostile ones, every kind of file.

use crate::build::{Layer, Meta, header};
use tar::EntryType;

/// Layers with a name for messages.
pub(crate) fn all() -> Vec<(&'static str, Vec<Layer>)> {
    vec![
        ("an empty image", vec![Layer::new()]),
        ("one of each kind", vec![kinds()]),
        ("upgrades and whiteouts", vec![lower(), upper(), top()]),
        ("large directories", vec![many()]),
        ("deep directories", vec![deep()]),
        ("extended attributes", vec![xattrs()]),
        ("contents of many sizes", vec![sizes()]),
        ("owners and times", vec![owners()]),
        ("links of all lengths", vec![links()]),
        ("a lower symlink on the path", through()),
        ("sparse files", vec![sparse()]),
    ]
}

/// Layers whose names lead elsewhere than they read. umoci gives folders that it wrote into so the time of that.
pub(crate) fn odd_paths() -> Vec<(&'static str, Vec<Layer>)> {
    vec![
        ("a symlink of the same layer on the path", through_own()),
        ("names with `..`", dot_dots()),
    ]
}

fn root() -> Layer {
    Layer::new().directory("./")
}

fn kinds() -> Layer {
    root()
        .directory("dev/")
        .device("dev/null", EntryType::Char, 1, 3)
        .device("dev/tty300", EntryType::Char, 4, 300)
        .device("dev/sda", EntryType::Block, 8, 0)
        .fifo("pipe")
        .file("file", b"contents")
        .file("empty", b"")
        .hard_link("file2", "file")
        .symlink("link", "file")
        .hard_link("link2", "link")
        .entry("suid", EntryType::Regular, "", Meta::mode(0o4755), b"#!")
        .entry("tmp", EntryType::Directory, "", Meta::mode(0o1777), b"")
}

fn lower() -> Layer {
    root()
        .directory("etc")
        .file("etc/passwd", b"root:x:0:0")
        .file("etc/shadow", &[b's'; 5000])
        .hard_link("etc/shadow-", "etc/shadow")
        .directory("usr")
        .directory("usr/lib")
        .file("usr/lib/libc.so.6", &[1; 200_000])
        .file("usr/lib/libm.so.6", &[2; 100_000])
        .symlink("lib", "usr/lib")
        .directory("opt")
        .directory("opt/old")
        .file("opt/old/a", b"a")
        .directory("opt/old/deeper")
        .file("opt/old/deeper/b", b"b")
        .directory("cache")
        .file("cache/x", b"x")
        .file("cache/y", b"y")
}

fn upper() -> Layer {
    root()
        .directory("etc")
        .file("etc/.wh.passwd", b"")
        .file("etc/shadow", b"new")
        .directory("usr")
        .directory("usr/lib")
        .file("usr/lib/libc.so.6", &[3; 150_000])
        .directory("opt")
        .file("opt/.wh.old", b"")
        .directory("cache")
        .file("cache/.wh..wh..opq", b"")
        .file("cache/z", b"z")
        .hard_link("libm", "usr/lib/libm.so.6")
}

fn top() -> Layer {
    root()
        .directory("opt")
        .entry("opt/old", EntryType::Regular, "", Meta::mode(0o600), b"a file now")
        .directory("etc")
        .file("etc/passwd", b"back")
        .file(".wh.lib", b"")
        .directory("lib")
        .file("lib/real", b"a directory now")
}

fn many() -> Layer {
    let mut layer = root().directory("d").directory("e");
    for i in 0..2000 {
        layer = layer.file(&format!("d/{i}-{}", "x".repeat(i % 150)), b"");
    }
    for i in 0..300 {
        layer = layer.directory(&format!("e/{}{i}", "y".repeat(200)));
    }
    layer
}

fn deep() -> Layer {
    let mut layer = root();
    let mut path = String::new();
    for i in 0..60 {
        path.push_str(&format!("level-{i}/"));
        layer = layer.directory(&path);
    }
    layer.file(&format!("{path}bottom"), b"here")
}

fn xattrs() -> Layer {
    // `cap_net_bind_service+ep`, as `setcap` writes it (VFS_CAP_REVISION_2).
    let capability =
        b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let file = |name: &str| header(name.as_bytes(), EntryType::Regular, b"", Meta::mode(0o755), 0);
    let directory = header(b"d", EntryType::Directory, b"", Meta::mode(0o755), 0);
    root()
        .pax("SCHILY.xattr.security.capability", capability)
        .raw_entry(&file("server"), b"")
        .pax("SCHILY.xattr.security.capability", capability)
        .pax("SCHILY.xattr.user.note", b"same\ncapability")
        .raw_entry(&file("server2"), b"")
        .pax("SCHILY.xattr.user.long", &[b'l'; 3000])
        .pax("SCHILY.xattr.trusted.note", b"t")
        .raw_entry(&directory, b"")
}

fn sizes() -> Layer {
    let data: Vec<u8> =
        (0..1_200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sizes = [1, 4095, 4096, 4097, 65_536, 1_048_576, 1_200_000];
    sizes.iter().fold(root(), |layer, &size| layer.file(&format!("f{size}"), &data[..size]))
}

fn owners() -> Layer {
    let mut layer = root();
    for id in [1, 1000, 65_535, 65_536, 3_000_000] {
        let meta = Meta { mode: 0o640, uid: id, gid: id + 1, mtime: id * 1000 };
        layer = layer.entry(&format!("f{id}"), EntryType::Regular, "", meta, b"x");
    }
    for (name, mtime) in [("before", "-86400.25"), ("nano", "1600000000.123456789")] {
        let head = header(name.as_bytes(), EntryType::Regular, b"", Meta::mode(0o644), 0);
        layer = layer.pax("mtime", mtime.as_bytes()).raw_entry(&head, b"");
    }
    layer
}

fn links() -> Layer {
    [1, 50, 100, 101, 2000, 4000, 4095]
        .iter()
        .fold(root(), |layer, &n| layer.symlink(&format!("s{n}"), &"t".repeat(n)))
}

fn through() -> Vec<Layer> {
    vec![
        root()
            .directory("run")
            .directory("var")
            .symlink("var/run", "/run")
            .directory("usr")
            .directory("usr/lib")
            .file("usr/lib/old", b"")
            .symlink("lib", "usr/lib"),
        Layer::new().file("var/run/pid", b"1").file("lib/new", b"n").file("lib/.wh.old", b""),
    ]
}

fn through_own() -> Vec<Layer> {
    vec![
        root()
            .directory("d")
            .file("d/lower", b"")
            .directory("run")
            .directory("var")
            .symlink("var/run", "/run")
            .file("var/run/pid", b"1")
            .directory("var/run/app")
            .symlink("var/run/app/self", "../../run")
            .file("var/run/app/self/self", b"s"),
        root()
            .directory("usr")
            .symlink("lib", "usr/lib")
            .file("lib/made", b"m")
            .symlink("one", "two")
            .symlink("two", "three/four")
            .file("one/file", b"f")
            .hard_link("one/link", "two/file")
            .symlink("out", "../../../../etc")
            .file("out/passwd", b"p")
            .symlink("through", "missing/../found")
            .file("through/file", b"t")
            .symlink("upper", "d")
            .file("upper/new", b"n")
            .file("upper/.wh.lower", b"")
            .file("var/run/pid/.wh.x", b"")
            .file("var/run/pid/.wh..wh..opq", b""),
    ]
}

fn dot_dots() -> Vec<Layer> {
    vec![
        root()
            .directory("a")
            .file("a/../b", b"b")
            .file("a/./c/../../d", b"d")
            .file("../out", b"o")
            .file("/../../further", b"f")
            .symlink("link", "a/deep")
            // The link is taken back before it is followed.
            .file("link/../beside", b"l")
            .hard_link("hard", "a/../b")
            .hard_link("x/../harder", "../out")
            .directory("a/new/.."),
        root().file("a/../.wh.d", b"").file("a/../b", b"new"),
    ]
}

/// No old GNU form: umoci does not know it.
fn sparse() -> Layer {
    let mut map = b"2\n0\n4\n9000\n6\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"headmiddle");
    let head = |size| header(b"s", EntryType::Regular, b"", Meta::mode(0o644), size);
    root()
        .pax("GNU.sparse.size", b"300000")
        .pax("GNU.sparse.numblocks", b"2")
        .pax("GNU.sparse.name", b"one")
        .pax("GNU.sparse.map", b"0,4,200000,6")
        .raw_entry(&head(10), b"headmiddle")
        .file("between", b"b")
        .pax("GNU.sparse.major", b"1")
        .pax("GNU.sparse.minor", b"0")
        .pax("GNU.sparse.name", b"two")
        .pax("GNU.sparse.realsize", b"20000")
        .raw_entry(&head(522), &map)
}
