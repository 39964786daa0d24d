//! What comes out of each kind of source, and how it is kept.

use crate::{Verdict, assert_tidy, entries, pull, registry::Sample, settings};
use flate2::{Compression, write::GzEncoder};
use image::{Event, FailureKind, FetchError, Naming, Store, StoreError};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

pub(crate) fn every_kind_of_source_gives_the_same_disk() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let path = |name: &str| folder.path().join(name);
    sample.write_layout(&path("layout"));
    sample.write_oci_archive(&path("oci.tar"));
    sample.write_docker_archive(&path("docker.tar"));
    sample.write_dir(&path("dir"));
    compress(&path("docker.tar"), &path("docker.tar.gz"));
    compress(&path("oci.tar"), &path("oci.tar.gz"));
    // A layout whose blobs are links out of it, as build tools make them.
    fs::create_dir_all(path("linked/blobs")).unwrap();
    symlink(path("layout/index.json"), path("linked/index.json")).unwrap();
    symlink(path("layout/blobs/sha256"), path("linked/blobs/sha256")).unwrap();
    let sources = [
        format!("{}/sample:1.0", sample.serve()),
        format!("oci:{}", path("layout").display()),
        format!("oci:{}:1.0", path("layout").display()),
        format!("oci-archive:{}", path("oci.tar").display()),
        format!("docker-archive:{}", path("docker.tar").display()),
        format!("docker-archive:{}:docker.io/library/sample:1.0", path("docker.tar").display()),
        format!("docker-archive:{}:@0", path("docker.tar.gz").display()),
        format!("oci-archive:{}", path("oci.tar.gz").display()),
        format!("oci:{}", path("linked").display()),
        format!("dir:{}", path("dir").display()),
    ];
    let mut disks = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let store = path(&format!("store{number}"));
        let image = pull(&store, source).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(image.config.cmd, ["/bin/sh"]);
        assert_eq!(image.config.exposed_ports, ["80/tcp"]);
        assert_tidy(&store);
        let disk = fs::read(&image.disk).unwrap();
        assert_eq!(disk.len() as u64, image.disk_bytes);
        assert!(image.names.contains(source), "{source} is not in {:?}", image.names);
        if source.starts_with("docker-archive:") {
            assert!(image.names.contains(&"docker.io/library/sample:1.0".to_owned()));
        } else {
            assert_eq!(image.digest, sample.manifest, "{source}");
        }
        disks.push(disk);
    }
    assert!(disks.windows(2).all(|pair| pair[0] == pair[1]), "disks differ");
    Verdict::Passed
}

fn compress(from: &Path, to: &Path) {
    let mut gzip = GzEncoder::new(fs::File::create(to).unwrap(), Compression::fast());
    gzip.write_all(&fs::read(from).unwrap()).unwrap();
    gzip.finish().unwrap();
}

pub(crate) fn an_archive_is_read_through_a_pipe() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let path = |name: &str| folder.path().join(name);
    sample.write_docker_archive(&path("docker.tar"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let (from, to) = (path("docker.tar"), path("pipe"));
    let writer = thread::spawn(move || fs::write(to, fs::read(from).unwrap()).unwrap());
    let source = format!("docker-archive:{}:sample:1.0", path("pipe").display());
    assert_eq!(pull(&path("store"), &source).unwrap().config.cmd, ["/bin/sh"]);
    // What cannot be read to and fro was kept in a file that has no name.
    assert_tidy(&path("store"));
    writer.join().unwrap();
    Verdict::Passed
}

pub(crate) fn images_with_the_same_layers_share_one_disk() -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let images = ["1", "2", "3"].map(|label| {
        let sample = Sample::labelled(architecture, label);
        let layout = folder.path().join(label);
        sample.write_layout(&layout);
        pull(&store, &format!("oci:{}", layout.display())).unwrap()
    });
    for image in &images {
        assert_eq!(image.disk_file, images[0].disk_file);
    }
    let labels = images.each_ref().map(|image| image.config.labels["l"].raw().to_owned());
    assert_eq!(labels, ["1", "2", "3"]);
    assert_tidy(&store);
    // An image that claims the same layers and has others gets no disk at all.
    let mut liar = Sample::labelled(architecture, "4");
    let layer = liar.blobs.values_mut().find(|blob| blob.starts_with(b"\x1f\x8b")).unwrap();
    *layer = b"another layer".to_vec();
    let layout = folder.path().join("liar");
    liar.write_layout(&layout);
    let error = pull(&store, &format!("oci:{}", layout.display())).unwrap_err();
    let StoreError::Fetch(FetchError::Failed { kind, message }) = &error else { panic!("{error}") };
    assert_eq!(*kind, FailureKind::Mismatch, "{message}");
    assert_eq!(entries(&store.join("sha256")).len(), 3);
    assert_tidy(&store);
    Verdict::Passed
}

pub(crate) fn a_private_layout_is_read() -> Verdict {
    if !rustix::process::getuid().is_root() {
        return Verdict::Skipped("needs root, to give root up");
    }
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let layout = folder.path().join("layout");
    sample.write_layout(&layout);
    for (path, mode) in [("index.json", 0o600), ("blobs/sha256", 0o700), ("", 0o700)] {
        fs::set_permissions(layout.join(path), fs::Permissions::from_mode(mode)).unwrap();
        chown(layout.join(path), Some(0), Some(0)).unwrap();
    }
    pull(&folder.path().join("store"), &format!("oci:{}", layout.display())).unwrap();
    Verdict::Passed
}

pub(crate) fn a_second_pull_reads_no_layer() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    sample.write_oci_archive(&folder.path().join("oci.tar"));
    let store = Store::open(folder.path().join("store")).unwrap();
    let pulled = |source: &str| {
        let mut events = Vec::new();
        let mut note = |event: &Event| events.push(event.clone());
        let source = source.parse().unwrap();
        let image = store.pull(&source, Naming::AsArchived, &settings(), &mut note).unwrap();
        (image, events)
    };
    let read_layers =
        |events: &[Event]| events.iter().any(|event| matches!(event, Event::Layers { .. }));
    let source = format!("oci-archive:{}", folder.path().join("oci.tar").display());
    let (first, events) = pulled(&source);
    assert!(read_layers(&events), "{events:?}");
    let (again, events) = pulled(&source);
    assert!(events.contains(&Event::Present { digest: first.digest }), "{events:?}");
    assert!(!read_layers(&events) && again == first, "{events:?}");
    // Somebody else's word for the same image is not taken until the disk has shown it.
    let host = sample.serve();
    let other = format!("{host}/sample:1.0");
    let (second, events) = pulled(&other);
    assert!(read_layers(&events), "{events:?}");
    assert_eq!(second.names, [other.clone(), source]);
    assert_eq!(store.list().unwrap(), [second]);
    assert_tidy(&folder.path().join("store"));
    let (_, events) = pulled(&other);
    assert!(!read_layers(&events), "{events:?}");
    let by_digest = format!("127.0.0.1:1/sample@{}", first.digest);
    let source = by_digest.parse().unwrap();
    let error = store.pull(&source, Naming::AsArchived, &settings(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
    let by_digest = format!("{host}/sample@{}", first.digest);
    pulled(&by_digest);
    // Known by its digest, it needs no registry any more.
    let (_, events) = pulled(&by_digest);
    assert_eq!(events, [Event::Present { digest: first.digest }]);
    Verdict::Passed
}

pub(crate) fn another_image_cannot_come_under_a_digest() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let path = |name: &str| folder.path().join(name);
    sample.write_layout(&path("layout"));
    let image = pull(&path("store"), &format!("oci:{}", path("layout").display())).unwrap();
    // What a child in another image's hands might have made of this one, from elsewhere.
    let mut disk = fs::read(&image.disk).unwrap();
    let last = disk.len() - 1;
    disk[last] ^= 1;
    fs::write(&image.disk, disk).unwrap();
    let host = sample.serve();
    let source = format!("{host}/sample:1.0");
    let error = pull(&path("store"), &source).unwrap_err();
    assert!(matches!(error, StoreError::Differs { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&source) && text.contains("/layout, but its disk is another"), "{text}");
    let store = Store::open(path("store")).unwrap();
    assert_eq!(store.find(&source).unwrap(), None, "it was named all the same");
    assert_tidy(&path("store"));
    Verdict::Passed
}

pub(crate) fn a_run_names_only_what_was_asked_for() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let path = folder.path().join("docker.tar");
    sample.write_docker_archive(&path);
    let source = format!("docker-archive:{}", path.display());
    let store = Store::open(folder.path().join("store")).unwrap();
    let pulled = |naming| {
        let mut events = Vec::new();
        let mut note = |event: &Event| events.push(event.clone());
        let image = store.pull(&source.parse().unwrap(), naming, &settings(), &mut note).unwrap();
        let named = |event: &Event| matches!(event, Event::Named { .. });
        (image, events.into_iter().filter(named).collect::<Vec<_>>())
    };
    let (image, named) = pulled(Naming::AsAsked);
    assert_eq!(image.names, std::slice::from_ref(&source));
    assert_eq!(named, []);
    let (image, named) = pulled(Naming::AsArchived);
    let name = "docker.io/library/sample:1.0".to_owned();
    assert_eq!(image.names, [source.clone(), name.clone()]);
    assert_eq!(named, [Event::Named { name, digest: image.digest, before: None }]);
    Verdict::Passed
}

pub(crate) fn an_image_for_other_machines_is_refused() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::new("s390x"));
    sample.write_layout(&folder.path().join("layout"));
    sample.write_docker_archive(&folder.path().join("docker.tar"));
    for source in ["oci:layout", "docker-archive:docker.tar"] {
        let (kind, name) = source.split_once(':').unwrap();
        let source = format!("{kind}:{}", folder.path().join(name).display());
        let error = pull(&folder.path().join("store"), &source).unwrap_err();
        let StoreError::Fetch(FetchError::Failed { kind, message }) = &error else {
            panic!("{error}")
        };
        assert_eq!(*kind, FailureKind::Platform);
        let said = " is for linux/s390x; this machine runs linux/";
        assert!(message.raw().contains(said), "{message}");
    }
    assert_tidy(&folder.path().join("store"));
    assert_eq!(entries(&folder.path().join("store/sha256")), [""; 0]);
    Verdict::Passed
}

pub(crate) fn names_move_and_images_go() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let path = folder.path().join("docker.tar");
    sample.write_docker_archive(&path);
    let source = format!("docker-archive:{}", path.display());
    let store = Store::open(folder.path().join("store")).unwrap();
    let image =
        store.pull(&source.parse().unwrap(), Naming::AsArchived, &settings(), &mut ()).unwrap();
    let hex = image.digest.hex();
    for name in ["sample:1.0", "docker.io/library/sample:1.0", &source, &hex[..12], &hex] {
        assert_eq!(store.find(name).unwrap().as_ref(), Some(&image), "{name}");
    }
    assert_eq!(store.find("sample:2.0").unwrap(), None);
    let removed = store.remove("sample:1.0", &|_| true).unwrap();
    assert_eq!((removed.names.len(), removed.image), (1, None));
    assert!(matches!(store.remove(&source, &|_| true), Err(StoreError::InUse { .. })));
    assert!(image.disk.exists());
    // Whoever holds the image has been seen before it goes.
    let (held, seen) = (image.hold().unwrap(), AtomicBool::new(false));
    thread::scope(|scope| {
        let remove = || store.remove(&source, &|_| seen.load(Ordering::Relaxed));
        let removal = scope.spawn(remove);
        thread::sleep(Duration::from_millis(200));
        seen.store(true, Ordering::Relaxed);
        drop(held);
        assert!(matches!(removal.join().unwrap(), Err(StoreError::InUse { .. })));
    });
    let removed = store.remove(&source, &|_| false).unwrap();
    assert!(matches!(image.hold(), Err(StoreError::NotFound(_))));
    assert_eq!(removed.image, Some(image.digest));
    assert!(!image.disk.exists() && store.list().unwrap().is_empty());
    assert!(matches!(store.remove(&source, &|_| false), Err(StoreError::NotFound(_))));
    assert_tidy(&folder.path().join("store"));
    Verdict::Passed
}
