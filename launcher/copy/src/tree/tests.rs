use super::*;
use crate::wire::{Kind, Writer};
use crate::{CopyError, Limits, read_preamble, receive};
use rustix::fs::open;
use std::fs;
use std::path::Path;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 50, depth: 8, holes_count: false };
const RIGHTS: Rights = Rights { mode: 0o777, owners: false, follow: false };

fn opened(path: &Path) -> OwnedFd {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

/// The stream of one file with this content.
fn one_file(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let mut writer = Writer::begin(&mut bytes, Kind::File).unwrap();
    let meta = Meta { mode: 0o4711, ..Meta::default() };
    writer.file(OsStr::new(""), &meta, content.len() as u64).unwrap();
    writer.data(0, content).unwrap();
    writer.end_of_file(content.len() as u64).unwrap();
    writer.end().unwrap();
    bytes
}

fn write(bytes: &[u8], top: Top, rights: Rights) -> Result<(), CopyError> {
    let mut rest = bytes;
    let kind = read_preamble(&mut rest)?;
    receive(rest, kind, &LIMITS, &mut Tree::new(top, rights)).map(drop)
}

#[test]
fn what_was_asked_for_is_all_that_is_written() {
    let at = tempfile::tempdir().unwrap();
    // A file as top entry for an open folder, and the reverse.
    let folder = opened(at.path());
    let error = write(&one_file(b"x"), Top::Folder { folder, is_new: false }, RIGHTS).unwrap_err();
    assert!(matches!(error, CopyError::Write { .. }), "{error}");
    let mut bytes = vec![];
    let mut writer = Writer::begin(&mut bytes, Kind::Folder).unwrap();
    writer.folder(OsStr::new(""), &Meta::default()).unwrap();
    writer.leave().unwrap();
    writer.end().unwrap();
    let file = tempfile::tempfile().unwrap();
    let error = write(&bytes, Top::File(file), RIGHTS).unwrap_err();
    assert!(matches!(error, CopyError::Write { .. }), "{error}");
    assert_eq!(fs::read_dir(at.path()).unwrap().count(), 0);
}

#[test]
fn bits_that_give_rights_are_kept_only_where_that_is_asked_for() {
    use std::os::unix::fs::MetadataExt;
    let at = tempfile::tempdir().unwrap();
    for (mode, expected) in [(0o777, 0o711), (0o7777, 0o4711)] {
        let top = Top::Named { folder: opened(at.path()), name: "f".into() };
        write(&one_file(b"x"), top, Rights { mode, ..RIGHTS }).unwrap();
        assert_eq!(fs::metadata(at.path().join("f")).unwrap().mode() & 0o7777, expected);
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_named_with_the_cause() {
    let at = tempfile::tempdir().unwrap();
    fs::create_dir(at.path().join("f")).unwrap();
    let top = Top::Named { folder: opened(at.path()), name: "f".into() };
    let error = write(&one_file(b"x"), top, RIGHTS).unwrap_err();
    let CopyError::Write { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::IsADirectory);
}
