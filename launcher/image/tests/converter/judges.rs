//! erofs-utils and the kernel read our disks as we meant them.

use crate::build::Layer;
use crate::corpus;
use crate::host::{Compare, assert_same, has, is_root, read_tree, run};
use crate::reader;
use crate::run::contents;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

fn write_disk(layers: &[Layer], path: &Path) {
    let disk = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    let mut converter = image::Converter::new(disk, &image::Limits::default()).unwrap();
    for layer in layers {
        converter.apply_layer(&layer.tar()[..]).unwrap();
    }
    converter.finish().unwrap();
}

#[test]
fn fsck_erofs_accepts_every_disk_and_extracts_what_we_put_in() {
    let name = "fsck_erofs_accepts_every_disk_and_extracts_what_we_put_in";
    if !has("fsck.erofs", name) || !is_root(name) {
        return;
    }
    for (what, layers) in corpus::all() {
        println!("{what}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.erofs");
        write_disk(&layers, &path);
        run("fsck.erofs", &[path.as_os_str()]);
        let ours = reader::read(&contents(&File::open(&path).unwrap()));
        let out = folder.path().join("out");
        let mut extract = OsStr::new("--extract=").to_owned();
        extract.push(&out);
        run("fsck.erofs", &[&extract, path.as_os_str()]);
        let theirs = read_tree(&out);
        // It restores neither attributes nor hard links, and changes the owner after the mode.
        let compare = Compare { owners: true, times: true, ..Compare::default() };
        assert_same(what, &ours, &theirs, compare);
    }
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("umount", &[self.0.as_os_str()]);
    }
}

#[test]
fn the_kernel_mounts_every_disk_and_shows_what_we_put_in() {
    let name = "the_kernel_mounts_every_disk_and_shows_what_we_put_in";
    if !is_root(name) {
        return;
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.lines().any(|line| line.trim() == "erofs") || !Path::new("/dev/loop-control").exists()
    {
        println!("skipped: {name}: this kernel has no erofs or no loop devices");
        return;
    }
    for (what, layers) in corpus::all() {
        println!("{what}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.erofs");
        write_disk(&layers, &path);
        let ours = reader::read(&contents(&File::open(&path).unwrap()));
        let at = folder.path().join("at");
        std::fs::create_dir(&at).unwrap();
        let options = OsStr::new("loop,ro");
        let kind = OsStr::new("erofs");
        run(
            "mount",
            &[OsStr::new("-t"), kind, OsStr::new("-o"), options, path.as_ref(), at.as_ref()],
        );
        let mounted = Mounted(&at);
        let theirs = read_tree(&at);
        drop(mounted);
        let compare = Compare {
            owners: true,
            xattrs: true,
            times: true,
            links: true,
            set_ids: true,
            directory_links: true,
        };
        assert_same(what, &ours, &theirs, compare);
    }
}
