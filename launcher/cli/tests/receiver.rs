//! The process that reads what a guest sends, started as `launch cp` starts it, with the test's streams in place of a
//! guest's.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use copy::{Kind, Meta, Writer};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a receiver in `folder`; `job` replaces parts of a usual job.
fn start(folder: &Path, job: Value) -> Child {
    let mut whole = json!({
        "tar": null, "max_bytes": 1 << 20, "max_entries": 100, "max_depth": 50, "allow_unsandboxed": false,
    });
    for (key, value) in job.as_object().unwrap() {
        whole[key] = value.clone();
    }
    Command::new(env!("CARGO_BIN_EXE_launch"))
        .args(["__receive", &whole.to_string()])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a receiver that reads what `send` writes, and waits for its end.
fn receive(folder: &Path, job: Value, send: impl FnOnce(&mut dyn Write)) -> (Output, Value) {
    let mut child = start(folder, job);
    let mut stdin = child.stdin.take().unwrap();
    send(&mut stdin);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let report = serde_json::from_slice(&output.stderr);
    let report = report.unwrap_or_else(|_| panic!("no report: {output:?}"));
    (output, report)
}

/// A folder with one file.
fn small(out: &mut dyn Write) -> io::Result<()> {
    let meta = Meta { mode: 0o4755, ..Meta::default() };
    let mut writer = Writer::begin(out, Kind::Folder)?;
    writer.folder(OsStr::new(""), &meta)?;
    writer.file(OsStr::new("file"), &meta, 4)?;
    writer.data(0, b"text")?;
    writer.end_of_file(4)?;
    writer.leave()?;
    writer.end()
}

#[test]
fn a_receiver_writes_what_comes_and_can_do_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), json!({}));
    // When it waits for input, it has given up its rights.
    let status = format!("/proc/{}/status", child.id());
    let until = Instant::now() + PATIENCE;
    let status = loop {
        let status = fs::read_to_string(&status).unwrap();
        if status.contains("Seccomp:\t2") {
            break status;
        }
        assert!(Instant::now() < until, "{status}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    small(&mut child.stdin.take().unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let copy = folder.path().join("copy/file");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "text");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(copy).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_receiver_makes_pipes_and_further_names_of_a_file() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let folder = tempfile::tempdir().unwrap();
    let (output, report) = receive(folder.path(), json!({}), |out| {
        let meta = Meta { mode: 0o755, ..Meta::default() };
        let mut writer = Writer::begin(out, Kind::Folder).unwrap();
        writer.folder(OsStr::new(""), &meta).unwrap();
        writer.folder(OsStr::new("below"), &meta).unwrap();
        writer.file_with_names(OsStr::new("file"), &meta, 0, true).unwrap();
        writer.end_of_file(0).unwrap();
        writer.leave().unwrap();
        writer.same_file(OsStr::new("again"), 0).unwrap();
        writer.pipe(OsStr::new("pipe"), &meta).unwrap();
        writer.leave().unwrap();
        writer.end().unwrap();
    });
    assert!(output.status.success(), "{report}");
    let of = |name: &str| fs::metadata(folder.path().join("copy").join(name)).unwrap();
    assert_eq!((of("again").ino(), of("again").nlink()), (of("below/file").ino(), 2));
    assert!(of("pipe").file_type().is_fifo());
}

#[test]
fn a_tar_goes_to_standard_output_and_has_an_end_only_where_the_stream_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, report) = receive(folder.path(), json!({"tar": "top"}), |out| small(out).unwrap());
    assert!(whole.status.success(), "{report}");
    let mut archive = tar::Archive::new(&whole.stdout[..]);
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
    assert_eq!(names.collect::<Vec<_>>(), [Path::new("top"), Path::new("top/file")]);
    let mut bytes = vec![];
    small(&mut bytes).unwrap();
    let (cut, report) = receive(folder.path(), json!({"tar": "top"}), |out| {
        out.write_all(&bytes[..bytes.len() - 1]).unwrap();
    });
    assert!(!cut.status.success());
    assert_eq!(report["is_cut"], true);
    // A tar ends with blocks of zeros.
    assert!(cut.stdout.is_empty() || !cut.stdout.ends_with(&[0; 1024]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_guest_that_sends_for_ever_ends_by_a_limit_that_is_named() {
    let meta = Meta::default();
    let folder = tempfile::tempdir().unwrap();
    let mut begin = vec![];
    let mut writer = Writer::begin(&mut begin, Kind::Folder).unwrap();
    writer.folder(OsStr::new(""), &meta).unwrap();
    /// Writes until the reader closes its end.
    fn flood(out: &mut dyn Write, begin: &[u8], again: &[u8]) {
        let _ = out.write_all(begin);
        while out.write_all(again).is_ok() {}
    }
    let records = |fill: &dyn Fn(&mut Writer<&mut Vec<u8>>)| {
        let mut bytes = vec![];
        fill(&mut Writer::begin(&mut bytes, Kind::File).unwrap());
        bytes.split_off(16)
    };
    let link = records(&|out| out.link(OsStr::new("l"), &meta, OsStr::new("t")).unwrap());
    let left = records(&|out| out.left_out(OsStr::new("l"), copy::LeftOut::Socket).unwrap());
    let deep = records(&|out| out.folder(OsStr::new("d"), &meta).unwrap());
    let file = records(&|out| {
        out.file(OsStr::new("f"), &meta, 60_000).unwrap();
        out.data(0, &[1; 60_000]).unwrap();
        out.end_of_file(60_000).unwrap();
    });
    for (again, flag) in [
        (link, "--max-entries"),
        (left, "--max-entries"),
        (deep, "--max-depth"),
        (file, "--max-size"),
    ] {
        let (_, report) = receive(folder.path(), json!({}), |out| flood(out, &begin, &again));
        assert!(report["error"].as_str().unwrap().contains(flag), "{report}");
        fs::remove_dir_all(folder.path().join("copy")).unwrap();
    }
    // A file without end, and a name longer than the receiver's memory.
    let zeros = vec![0xff; 1 << 20];
    let (_, report) = receive(folder.path(), json!({}), |out| flood(out, &begin, &zeros));
    assert!(report["error"].as_str().unwrap().contains("not valid"), "{report}");
}

#[test]
fn the_cause_is_told_in_the_systems_words() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("copy/file")).unwrap();
    let (_, report) = receive(folder.path(), json!({}), |out| small(out).unwrap());
    assert_eq!(report["error"], "cannot write file: is a directory");
    let (_, report) = receive(folder.path(), json!({}), |out| {
        let _ = out.write_all(b"ustar, as it was once");
    });
    assert!(report["error"].as_str().unwrap().contains("another version"), "{report}");
}
