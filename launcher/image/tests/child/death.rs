//! Pulls that end before their time.

use crate::{
    Verdict, assert_tidy, entries,
    registry::{Sample, tar},
    rights::with_waiting_child,
    settings,
};
use image::{FailureKind, FetchError, Naming, Settings, Store, StoreError, convert};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub(crate) fn a_killed_child_leaves_nothing() -> Verdict {
    let store = tempfile::tempdir().unwrap();
    let error = with_waiting_child(store.path(), |_| {
        // The child enters its sandbox first.
        for _ in 0..1000 {
            if !entries(&store.path().join("work")).is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        panic!("no work to be interrupted");
    });
    let error = error.unwrap_err();
    assert!(error.contains(" was killed; is memory short?"), "{error}");
    assert_tidy(store.path());
    assert_eq!(entries(&store.path().join("sha256")), [""; 0]);
    Verdict::Passed
}

/// What pulls in a process of its own.
pub(crate) fn pulling(store: &Path, source: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["pull", store.to_str().unwrap(), source]).stdout(Stdio::piped());
    command
}

fn start_pull(store: &Path, source: &str) -> std::process::Child {
    pulling(store, source).spawn().unwrap()
}

pub(crate) fn a_killed_pull_is_cleaned_up() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let (store, pipe) = (folder.path().join("store"), folder.path().join("pipe"));
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut writer = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let mut pull = start_pull(&store, &format!("rootfs:{}", pipe.display()));
    writer.write_all(&tar(&[("file", &[1; 30_000])])[..20_000]).unwrap();
    let mut lines = BufReader::new(pull.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("Layers")));
    pull.kill().unwrap();
    pull.wait().unwrap();
    assert_eq!(entries(&store.join("work")).len(), 1, "nothing was left to clean up");
    let layout = folder.path().join("layout");
    sample.write_layout(&layout);
    // The child goes with the launcher, and with it the lock; that may take a moment.
    for _ in 0..100 {
        crate::pull(&store, &format!("oci:{}", layout.display())).unwrap();
        if entries(&store.join("work")).is_empty() {
            return Verdict::Passed;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("leftovers stay: {:?}", entries(&store.join("work")));
}

pub(crate) fn of_many_pulls_one_does_the_work() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let (store, layout) = (folder.path().join("store"), folder.path().join("layout"));
    sample.write_layout(&layout);
    let source = format!("oci:{}", layout.display());
    let pulls: Vec<_> = (0..6).map(|_| start_pull(&store, &source)).collect();
    let mut worked = 0;
    for pull in pulls {
        let output = String::from_utf8(pull.wait_with_output().unwrap().stdout).unwrap();
        assert!(output.contains(&format!("pulled {}", sample.manifest)), "{output}");
        worked += usize::from(output.contains("Layers {"));
    }
    assert_eq!(worked, 1);
    assert_tidy(&store);
    Verdict::Passed
}

pub(crate) fn a_missing_fetcher_is_named() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let layout = folder.path().join("layout");
    sample.write_layout(&layout);
    let source = format!("oci:{}", layout.display()).parse().unwrap();
    let settings = Settings { fetcher: folder.path().join("no-such"), ..settings() };
    let error = Store::open(folder.path().join("store")).unwrap().pull(
        &source,
        Naming::AsArchived,
        &settings,
        &mut (),
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no-such, which fetches images"), "{error}");
    Verdict::Passed
}

/// Mounts a file system of this size in `folder`; `None` if that is not possible.
pub(crate) fn mount_small(folder: &Path, size: &str) -> Option<PathBuf> {
    let small = folder.join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
        .arg(&small)
        .stderr(Stdio::null())
        .status();
    mounted.is_ok_and(|status| status.success()).then_some(small)
}

pub(crate) fn a_full_disk_is_told() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let Some(small) = mount_small(folder.path(), "128k") else {
        return Verdict::Skipped("cannot mount a small file system here");
    };
    let layout = folder.path().join("layout");
    sample.write_layout(&layout);
    let source = format!("oci:{}", layout.display());
    let error = crate::pull(&small.join("store"), &source);
    let left = (entries(&small.join("store/work")), entries(&small.join("store/sha256")));
    let unmounted = Command::new("umount").arg(&small).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let error = error.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("no space left in "), "{error}");
    assert_eq!(left, (vec![], vec![]));
    Verdict::Passed
}

pub(crate) fn a_failed_conversion_leaves_the_old_file() -> Verdict {
    let (folder, sample) = (tempfile::tempdir().unwrap(), Sample::for_this_machine());
    let (layout, out) = (folder.path().join("layout"), folder.path().join("out.erofs"));
    sample.write_layout(&layout);
    let source = format!("oci:{}", layout.display()).parse().unwrap();
    fs::write(&out, "old").unwrap();
    let layer = sample.blobs.iter().find(|(_, blob)| blob.starts_with(&[0x1f, 0x8b])).unwrap().0;
    let layer = layout.join("blobs").join(layer.replace(':', "/"));
    let good = fs::read(&layer).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs::write(&layer, bad).unwrap();
    let error = convert(&source, &out, &settings(), &mut ()).unwrap_err();
    let StoreError::Fetch(FetchError::Failed { kind, message }) = &error else { panic!("{error}") };
    assert_eq!(*kind, FailureKind::Mismatch, "{message}");
    assert!(message.raw().contains(" has digest sha256:"), "{message}");
    assert_eq!(entries(folder.path()), ["layout", "out.erofs"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");

    fs::write(&layer, good).unwrap();
    convert(&source, &out, &settings(), &mut ()).unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let image = store.pull(&source, Naming::AsArchived, &settings(), &mut ()).unwrap();
    assert!(fs::read(&out).unwrap() == fs::read(image.disk).unwrap(), "convert and pull differ");
    Verdict::Passed
}
