use super::*;
use crate::wire::Writer;
use crate::{Rights, Top, Tree};
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags, open};
use std::fs;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 50, depth: 8, holes_count: false };

/// The stream of a folder that contains what `fill` writes.
fn folder(fill: impl FnOnce(&mut Writer<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = vec![];
    let mut writer = Writer::begin(&mut bytes, Kind::Folder).unwrap();
    writer.folder(OsStr::new(""), &Meta::default()).unwrap();
    fill(&mut writer);
    writer.leave().unwrap();
    writer.end().unwrap();
    bytes
}

fn file(writer: &mut Writer<&mut Vec<u8>>, name: &str, content: &[u8]) {
    writer.file(OsStr::new(name), &Meta::default(), content.len() as u64).unwrap();
    if !content.is_empty() {
        writer.data(0, content).unwrap();
    }
    writer.end_of_file(content.len() as u64).unwrap();
}

/// Receives into a new folder, and checks that nothing is written beside that folder.
fn write(bytes: &[u8], limits: &Limits) -> (Result<Summary, CopyError>, tempfile::TempDir) {
    let around = tempfile::tempdir().unwrap();
    let top = around.path().join("top");
    fs::create_dir(&top).unwrap();
    std::os::unix::fs::symlink(around.path(), top.join("out")).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = open(&top, flags, Mode::empty()).unwrap();
    let rights = Rights { mode: 0o777, owners: false, follow: false };
    let mut tree = Tree::new(Top::Folder { folder, is_new: false }, rights);
    let mut rest = bytes;
    let result = read_preamble(&mut rest).and_then(|kind| receive(rest, kind, limits, &mut tree));
    let beside = fs::read_dir(around.path()).unwrap().count();
    assert_eq!(beside, 1, "something was written beside the folder");
    (result, around)
}

fn error(bytes: &[u8], limits: &Limits) -> String {
    let error = write(bytes, limits).0.unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn a_name_that_is_a_path_is_refused() {
    for name in ["a/b", "/etc", "..", "."] {
        let bytes = folder(|writer| file(writer, name, b"x"));
        assert!(error(&bytes, &LIMITS).contains("a name is a path"), "{name}");
    }
    let bytes = folder(|writer| file(writer, "", b"x"));
    assert!(error(&bytes, &LIMITS).contains("a name is empty or too long"));
    let bytes = folder(|writer| file(writer, "a\0b", b"x"));
    assert!(error(&bytes, &LIMITS).contains("a zero byte"));
}

#[test]
fn no_link_is_a_way_out_neither_one_that_was_there_nor_one_that_came() {
    for make_link in [false, true] {
        let bytes = folder(|writer| {
            let name = if make_link { "new" } else { "out" };
            if make_link {
                writer.link(OsStr::new(name), &Meta::default(), OsStr::new("..")).unwrap();
            }
            writer.folder(OsStr::new(name), &Meta::default()).unwrap();
            file(writer, "file", b"x");
            writer.leave().unwrap();
        });
        let error = error(&bytes, &LIMITS);
        assert!(error.contains("Not a directory") || error.contains("symbolic links"), "{error}");
    }
    // A file replaces a link and does not change the link's target.
    let bytes = folder(|writer| file(writer, "out", b"x"));
    let (result, around) = write(&bytes, &LIMITS);
    result.unwrap();
    assert_eq!(fs::read(around.path().join("top/out")).unwrap(), b"x");
}

#[test]
fn a_header_that_states_an_endless_length_is_refused_before_anything_is_kept() {
    for (tag, what) in [
        (tag::FOLDER, "a name is empty or too long"),
        (tag::FILE, "a name is empty or too long"),
        (tag::LEFT_OUT, "a name is empty or too long"),
        (tag::DATA, "cannot be in a folder"),
        (99, "cannot be in a folder"),
    ] {
        let mut bytes = folder(|_| {});
        let at = MAGIC.len() + 1 + HEADER_BYTES;
        bytes.truncate(at);
        bytes.push(tag);
        bytes.resize(at + HEADER_BYTES, 0xff);
        // Nothing follows the header, but the error must be about the record.
        assert!(error(&bytes, &LIMITS).contains(what), "{tag}");
    }
    let bytes = folder(|writer| {
        let target = OsString::from("t".repeat(5000));
        writer.link(OsStr::new("link"), &Meta::default(), &target).unwrap();
    });
    assert!(error(&bytes, &LIMITS).contains("a link's target is empty or too long"));
}

#[test]
fn each_limit_is_named_with_its_flag() {
    let many = folder(|writer| {
        for number in 0..60 {
            file(writer, &format!("f{number}"), b"");
        }
    });
    assert_eq!(
        error(&many, &LIMITS),
        "the copy has more than 50 files and folders; --max-entries allows more"
    );
    let deep = folder(|writer| {
        for _ in 0..20 {
            writer.folder(OsStr::new("d"), &Meta::default()).unwrap();
        }
    });
    assert_eq!(
        error(&deep, &LIMITS),
        "d/d/d/d/d/d/d/d has folders more than 8 deep; --max-depth allows more"
    );
    let large = folder(|writer| {
        for number in 0..20 {
            file(writer, &format!("f{number}"), &[0; 60_000]);
        }
    });
    assert_eq!(
        error(&large, &LIMITS),
        "the copy has more than 1048576 bytes; --max-size allows more"
    );
}

#[test]
fn a_page_counts_whole_and_once_and_no_record_is_free() {
    let pages = |pieces: &[(u64, usize)]| {
        let bytes = folder(|writer| {
            writer.file(OsStr::new("f"), &Meta::default(), 1 << 40).unwrap();
            for (offset, length) in pieces {
                writer.data(*offset, &vec![1; *length]).unwrap();
            }
            writer.end_of_file(1 << 40).unwrap();
        });
        write(&bytes, &LIMITS).0.unwrap().bytes
    };
    assert_eq!(pages(&[]), 0);
    assert_eq!(pages(&[(0, 1)]), 4096);
    assert_eq!(pages(&[(4095, 2)]), 8192);
    assert_eq!(pages(&[(0, 4096), (4096, 4096)]), 8192);
    assert_eq!(pages(&[(0, 1), (1, 1), (2, 1)]), 4096 + 40 + 40);
    assert_eq!(pages(&[(0, 1), (1 << 30, 1)]), 8192);
    // If holes are written as zeros, the announced size counts, before any data is read.
    let sparse = folder(|writer| {
        writer.file(OsStr::new("f"), &Meta::default(), 1 << 40).unwrap();
        writer.end_of_file(1 << 40).unwrap();
    });
    let limits = Limits { holes_count: true, ..LIMITS };
    assert!(error(&sparse, &limits).contains("--max-size"));
}

#[test]
fn data_out_of_order_or_beyond_the_files_size_is_refused() {
    let odd = |pieces: &[(u64, usize)], end: u64| {
        let bytes = folder(|writer| {
            writer.file(OsStr::new("f"), &Meta::default(), 100).unwrap();
            for (offset, length) in pieces {
                writer.data(*offset, &vec![1; *length]).unwrap();
            }
            writer.end_of_file(end).unwrap();
        });
        error(&bytes, &LIMITS)
    };
    assert!(odd(&[(50, 10), (50, 10)], 100).contains("out of order"));
    assert!(odd(&[(0, 0)], 100).contains("out of order"));
    assert!(odd(&[(99, 2)], 100).contains("larger than announced"));
    assert!(odd(&[(u64::MAX, 2)], 100).contains("larger than announced"));
    assert!(odd(&[(0, 10)], 5).contains("final size does not fit"));
    assert!(odd(&[(0, 10)], 101).contains("final size does not fit"));
}

#[test]
fn a_stream_that_is_cut_anywhere_is_an_error() {
    let bytes = folder(|writer| {
        file(writer, "f", b"content");
        writer.link(OsStr::new("l"), &Meta::default(), OsStr::new("f")).unwrap();
    });
    write(&bytes, &LIMITS).0.unwrap();
    for length in 0..bytes.len() {
        assert!(error(&bytes[..length], &LIMITS).contains("ends early"), "{length}");
    }
    let mut more = folder(|_| {});
    more.truncate(more.len() - HEADER_BYTES);
    more.extend_from_within(more.len() - HEADER_BYTES..);
    assert!(error(&more, &LIMITS).contains("something follows the last entry"));
}

#[test]
fn another_version_is_told() {
    assert!(error(b"launch copy 03\n\x01", &LIMITS).contains("another version"));
    // A tar, which older versions sent.
    assert!(error(&[b'e'; 512], &LIMITS).contains("another version"));
}

#[test]
fn a_further_name_is_only_for_a_file_that_has_come_and_their_paths_have_a_bound() {
    let bytes = folder(|writer| {
        file(writer, "a", b"x");
        writer.same_file(OsStr::new("b"), 0).unwrap();
    });
    assert!(error(&bytes, &LIMITS).contains("a file that has not come"));
    let bytes = folder(|writer| {
        for number in 0..130_000 {
            let name = format!("{number:0>250}");
            writer.file_with_names(OsStr::new(&name), &Meta::default(), 0, true).unwrap();
            writer.end_of_file(0).unwrap();
        }
    });
    let mut stream = &bytes[..];
    let kind = read_preamble(&mut stream).unwrap();
    let limits = Limits { entries: u64::MAX, ..LIMITS };
    let error = receive(stream, kind, &limits, &mut Nowhere).unwrap_err().to_string();
    // 250 bytes and the path's own 24 each, of 32 MiB.
    assert!(error.contains("too many files with further names"), "{error}");
}

/// Takes all and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn folder(&mut self, _: &OsStr, _: &Meta) -> io::Result<()> {
        Ok(())
    }
    fn leave(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn file(&mut self, _: &OsStr, _: &Meta, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn end_of_file(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn link(&mut self, _: &OsStr, _: &Meta, _: &OsStr) -> io::Result<()> {
        Ok(())
    }
    fn pipe(&mut self, _: &OsStr, _: &Meta) -> io::Result<()> {
        Ok(())
    }
    fn same_file(&mut self, _: &OsStr, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_was_left_out_is_counted_and_the_first_named() {
    let bytes = folder(|writer| {
        writer.folder(OsStr::new("d"), &Meta::default()).unwrap();
        writer.left_out(OsStr::new("socket"), LeftOut::Socket).unwrap();
        writer.leave().unwrap();
        writer.left_out(OsStr::new("proc"), LeftOut::KernelFiles).unwrap();
    });
    let summary = write(&bytes, &LIMITS).0.unwrap();
    assert_eq!(summary.left_out, 2);
    assert_eq!(summary.first_left_out, Some(("d/socket".into(), LeftOut::Socket)));
}

/// Records that a hostile sender may write: mostly valid ones, in any order.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        4 => "[ab]",
        1 => Just("out".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("../x".to_owned()),
        1 => Just(String::new()),
    ];
    let number = prop_oneof![0u64..20, Just(u64::MAX), any::<u64>()];
    (1u8..12, name, number, 0usize..20).prop_map(|(kind, name, number, length)| {
        let name = OsStr::new(&name);
        let mut bytes = vec![];
        let mut writer = Writer::begin(&mut bytes, Kind::File).unwrap();
        let meta = Meta { mode: 0o4755, ..Meta::default() };
        match kind {
            tag::FOLDER => writer.folder(name, &meta),
            tag::FILE => writer.file_with_names(name, &meta, number, length > 9),
            tag::PIPE => writer.pipe(name, &meta),
            tag::SAME_FILE => writer.same_file(name, number),
            tag::LINK => writer.link(name, &meta, OsStr::new("..")),
            tag::DATA => writer.data(number, &vec![7; length]),
            tag::END_OF_FILE => writer.end_of_file(number),
            tag::LEAVE => writer.leave(),
            tag::LEFT_OUT => writer.left_out(name, LeftOut::Socket),
            _ => Ok(()),
        }
        .unwrap();
        bytes.split_off(MAGIC.len() + 1)
    })
}

proptest! {
    #[test]
    fn whatever_comes_nothing_is_written_beside_the_folder_nor_beyond_the_limits(
        records in prop::collection::vec(record(), 0..60),
        noise in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut bytes = folder(|_| {});
        bytes.truncate(MAGIC.len() + 1 + HEADER_BYTES);
        bytes.extend(records.concat());
        bytes.extend(noise);
        let limits = Limits { bytes: 8192, entries: 10, depth: 3, holes_count: false };
        let (result, around) = write(&bytes, &limits);
        if let Ok(summary) = result {
            prop_assert!(summary.bytes <= limits.bytes && summary.entries <= limits.entries);
        }
        let mut folders = vec![around.path().join("top")];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap();
                use std::os::unix::fs::MetadataExt;
                prop_assert_eq!(kind.mode() & 0o7000, 0);
                found += 1;
                if kind.is_dir() {
                    folders.push(path);
                }
            }
        }
        // One link existed before.
        prop_assert!(found <= 11, "{}", found);
    }

    #[test]
    fn any_bytes_are_a_stream_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let mut stream = folder(|_| {});
        stream.truncate(MAGIC.len() + 1);
        stream.extend(bytes);
        let _ = write(&stream, &LIMITS);
    }
}
