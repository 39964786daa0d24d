//! What is kept in a store, without fetching anything.

use super::{
    images::{DISK, Store},
    work::{self, Work},
};
use crate::{config::Config, digest::Digest, fetch::FetchedImage};
use std::{fs, os::unix::fs::MetadataExt as _, path::Path, thread};

const SOURCE: &str = "docker-archive:/a.tar";

/// Puts an image in `store` as if it had been fetched: its digest is that of `name`.
fn install(store: &Store, name: &str, disk: &[u8]) -> Digest {
    install_from(store, name, disk, SOURCE)
}

fn install_from(store: &Store, name: &str, disk: &[u8], source: &str) -> Digest {
    let digest = Digest::of(name.as_bytes());
    let work = Work::of(&store.folder, &digest, &mut || {}).unwrap();
    fs::write(work.folder().join(DISK), disk).unwrap();
    let config = Config { cmd: vec![name.into()], ..Config::default() };
    let image = FetchedImage { digest: Some(digest), config, disk_bytes: disk.len() as u64 };
    store.install(&work, image, &source.parse().unwrap()).unwrap()
}

fn inode(store: &Store, digest: &Digest) -> u64 {
    let image = store.find(&digest.hex()).unwrap().unwrap();
    assert_eq!(image.disk_file.1, fs::metadata(&image.disk).unwrap().ino());
    image.disk_file.1
}

#[test]
fn images_with_equal_disks_have_one_file_and_configs_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [a, b, c] = [("a", &b"disk"[..]), ("b", b"disk"), ("c", b"desk")]
        .map(|(name, disk)| install(&store, name, disk));
    assert_eq!(inode(&store, &a), inode(&store, &b));
    assert_ne!(inode(&store, &a), inode(&store, &c), "another disk of the same size");
    for (digest, name) in [(a, "a"), (b, "b"), (c, "c")] {
        assert_eq!(store.find(&digest.hex()).unwrap().unwrap().config.cmd, [name]);
    }
    assert_eq!(fs::read_dir(folder.path().join(work::FOLDER)).unwrap().count(), 0);
}

#[test]
fn a_shared_disk_goes_with_its_last_image() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (a, b) = (install(&store, "a", b"disk"), install(&store, "b", b"disk"));
    let kept = store.find(&b.hex()).unwrap().unwrap();
    let removed = store.remove(&a.hex(), &|_| false).unwrap();
    assert_eq!((removed.image, removed.freed_bytes), (Some(a), 0));
    assert_eq!(fs::read(&kept.disk).unwrap(), b"disk");
    // What one image is held for does not keep the other, but both are the same file.
    drop(kept.hold().unwrap());
    let removed = store.remove(&b.hex(), &|_| false).unwrap();
    assert_eq!((removed.image, removed.freed_bytes), (Some(b), 4));
    assert!(!kept.disk.exists());
}

/// A store as it was before images shared disks.
fn write_older_store(folder: &Path, name: &str, disk: &[u8]) -> Digest {
    let digest = Digest::of(name.as_bytes());
    let image = folder.join("sha256").join(digest.hex());
    fs::create_dir_all(&image).unwrap();
    fs::create_dir_all(folder.join("work")).unwrap();
    fs::write(image.join("disk.erofs"), disk).unwrap();
    let json =
        include_str!("fixtures/image.json").replace("\"DISK_BYTES\"", &disk.len().to_string());
    fs::write(image.join("image.json"), json).unwrap();
    let names = include_str!("fixtures/names.json").replace("DIGEST", &digest.to_string());
    fs::write(folder.join("names.json"), names).unwrap();
    digest
}

#[test]
fn images_of_an_older_store_are_read_share_their_disk_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let old = write_older_store(folder.path(), "old", b"disk");
    let store = Store::open(folder.path()).unwrap();
    let image = store.find("nginx").unwrap().unwrap();
    assert_eq!((image.digest, image.disk_bytes), (old, 4));
    assert_eq!(image.config.cmd, ["nginx", "-g", "daemon off;"]);
    assert_eq!(image.config.healthcheck.as_ref().unwrap().interval_ns, 30_000_000_000);
    assert_eq!(store.list().unwrap(), [image]);
    let new = install(&store, "new", b"disk");
    assert_eq!(inode(&store, &old), inode(&store, &new));
    assert_eq!(store.remove("nginx", &|_| false).unwrap().image, Some(old));
    assert_eq!(fs::read(store.find(&new.hex()).unwrap().unwrap().disk).unwrap(), b"disk");
}

#[test]
fn what_a_pull_that_was_killed_while_it_shared_a_disk_left_takes_no_disk_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let a = install(&store, "a", b"disk");
    let there = store.find(&a.hex()).unwrap().unwrap().disk;
    // After each step: the link, its move over the disk that was made, the description.
    for left in
        [&["disk.erofs", "shared.erofs"][..], &["disk.erofs"], &["disk.erofs", "image.json"]]
    {
        let killed = folder.path().join(work::FOLDER).join(Digest::of(b"b").hex());
        fs::create_dir_all(&killed).unwrap();
        for name in left {
            fs::hard_link(&there, killed.join(name)).unwrap();
        }
        let b = install(&store, "b", b"disk");
        assert_eq!(inode(&store, &a), inode(&store, &b));
        assert_eq!(fs::read(&there).unwrap(), b"disk");
        store.remove(&b.hex(), &|_| false).unwrap();
    }
    work::sweep(&store.folder);
    assert_eq!(fs::metadata(&there).unwrap().nlink(), 1);
}

#[test]
fn images_that_come_and_go_at_once_leave_whole_images_on_one_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let disk = vec![7; 3 << 20];
    thread::scope(|scope| {
        for number in 0..8 {
            let (store, disk) = (&store, &disk);
            scope.spawn(move || {
                let digest = install(store, &format!("image {number}"), disk);
                if number % 2 == 0 {
                    store.remove(&digest.hex(), &|_| false).unwrap();
                }
            });
        }
    });
    let images = store.list().unwrap();
    assert_eq!(images.len(), 4);
    for image in &images {
        assert_eq!(image.disk_file, images[0].disk_file);
        assert_eq!(fs::read(&image.disk).unwrap(), disk);
    }
    assert_eq!(fs::metadata(&images[0].disk).unwrap().nlink(), 4);
}

#[test]
fn what_comes_from_standard_input_is_looked_at_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let came_from = |digest, source: &str| store.came_from(&digest, &source.parse().unwrap());
    let digest = install_from(&store, "a", b"disk", "docker-archive:-");
    assert!(!came_from(digest, "docker-archive:-").unwrap());
    let digest = install_from(&store, "b", b"disk", SOURCE);
    assert!(came_from(digest, SOURCE).unwrap());
    assert!(!came_from(digest, "docker-archive:/b.tar").unwrap());
}
