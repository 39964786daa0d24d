//! Limits that hold whatever the child does: memory, time, free disk.

use crate::{Verdict, assert_tidy, death::mount_small, entries, registry::Sample, settings};
use flate2::{Compression, write::GzEncoder};
use image::{Image, Limits, Naming, Settings, Store, StoreError};
use std::{
    error::Error as _, fs, io::Write as _, os::unix::fs::PermissionsExt, path::Path,
    process::Command,
};

fn pull(store: &Path, source: &str, limits: Limits) -> Result<Image, StoreError> {
    let settings = Settings { limits, ..settings() };
    let source = source.parse().unwrap();
    Store::open(store).unwrap().pull(&source, Naming::AsAsked, &settings, &mut ())
}

/// The error with its causes, as a user sees it.
fn said(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Pulls `rootfs:` of `tar` with little memory.
fn pull_with_little_memory(tar: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (file, store) = (folder.path().join("root.tar"), folder.path().join("store"));
    fs::write(&file, tar).unwrap();
    let limits =
        Limits { max_memory_bytes: 48 << 20, max_metadata_bytes: u64::MAX, ..Limits::default() };
    let error = pull(&store, &format!("rootfs:{}", file.display()), limits).unwrap_err();
    assert_tidy(&store);
    assert_eq!(entries(&store.join("sha256")), [""; 0]);
    said(&error)
}

pub(crate) fn memory_is_limited_by_the_kernel() -> Verdict {
    // Each entry makes 200 folders.
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for number in 0..1500 {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("{number}{}/f", "/d".repeat(200)), &b""[..]).unwrap();
    }
    let error = pull_with_little_memory(&tar.into_inner().unwrap().finish().unwrap());
    assert!(error.contains(" takes too much memory to convert: more than 50331648; "), "{error}");
    assert!(error.contains("raise max_memory_bytes under [image.limits]"), "{error}");
    Verdict::Passed
}

pub(crate) fn memory_that_an_inflater_asks_for_is_limited() -> Verdict {
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.window_log(27).unwrap();
    // As large as the window, or the frame asks for less.
    let tar = crate::registry::tar(&[("file", &vec![1; 130 << 20])]);
    zstd.write_all(&tar).unwrap();
    let error = pull_with_little_memory(&zstd.finish().unwrap());
    assert!(error.contains("max_memory_bytes under [image.limits]"), "{error}");
    Verdict::Passed
}

pub(crate) fn a_fetch_without_end_is_ended() -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, store) = (folder.path().join("pipe"), folder.path().join("store"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _writer = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let limits = Limits { max_seconds: 1, ..Limits::default() };
    let error = said(&pull(&store, &format!("rootfs:{}", pipe.display()), limits).unwrap_err());
    assert!(error.contains("raise max_seconds under [image.limits]"), "{error}");
    assert_tidy(&store);
    Verdict::Passed
}

pub(crate) fn half_a_message_is_not_waited_for_without_end() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let (layout, fetcher) = (folder.path().join("layout"), folder.path().join("fetch"));
    sample.write_layout(&layout);
    fs::write(&fetcher, "#!/bin/sh\nprintf xx >&0\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&fetcher, PermissionsExt::from_mode(0o755)).unwrap();
    let limits = Limits { max_seconds: 1, ..Limits::default() };
    let settings = Settings { limits, fetcher, ..settings() };
    let source = format!("oci:{}", layout.display()).parse().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let error = store.pull(&source, Naming::AsAsked, &settings, &mut ()).unwrap_err();
    assert!(said(&error).contains("raise max_seconds under"), "{error}");
    Verdict::Passed
}

pub(crate) fn some_of_the_disk_stays_free() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let Some(small) = mount_small(folder.path(), "16m") else {
        return Verdict::Skipped("cannot mount a small file system here");
    };
    let layout = folder.path().join("layout");
    sample.write_layout(&layout);
    let source = format!("oci:{}", layout.display());
    // A twentieth is 820 KiB. The image's disk has 320 KiB: there is room for it, but not for that.
    fs::write(small.join("other"), vec![1; (16 << 20) - (700 << 10)]).unwrap();
    let limits = |min_free_bytes| Limits { min_free_bytes, ..Limits::default() };
    let refused = pull(&small.join("store"), &source, limits(1 << 30));
    let left = (entries(&small.join("store/work")), entries(&small.join("store/sha256")));
    let taken = pull(&small.join("store"), &source, limits(0));
    let unmounted = Command::new("umount").arg(&small).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let error = refused.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("min_free_bytes under [image.limits]"), "{error}");
    assert_eq!(left, (vec![], vec![]));
    taken.unwrap();
    Verdict::Passed
}
