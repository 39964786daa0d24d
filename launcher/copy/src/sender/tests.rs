use super::*;
use crate::{Limits, Rights, Summary, Top, Tree, read_preamble, receive};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

const LIMITS: Limits = Limits { bytes: 1 << 30, entries: 1000, depth: 20, holes_count: false };
const RIGHTS: Rights = Rights { mode: 0o777, owners: false, follow: false };

/// Sends `from` and receives it as `to`.
fn copy(from: &Path, to: &Path) -> (Vec<u8>, Summary) {
    let mut bytes = vec![];
    send(from, &mut bytes).unwrap();
    let summary = receive_all(&bytes, to);
    (bytes, summary)
}

fn receive_all(bytes: &[u8], to: &Path) -> Summary {
    let mut rest = bytes;
    let kind = read_preamble(&mut rest).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = rustix::fs::open(to.parent().unwrap(), flags, Mode::empty()).unwrap();
    let name = to.file_name().unwrap().to_owned();
    let mut tree = Tree::new(Top::Named { folder, name }, RIGHTS);
    receive(rest, kind, &LIMITS, &mut tree).unwrap()
}

#[test]
fn a_tree_comes_as_it_is() {
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    fs::create_dir_all(path("from/below/empty")).unwrap();
    fs::write(path("from/below/file"), "text").unwrap();
    fs::write(path("from/large"), vec![7; 200_001]).unwrap();
    fs::hard_link(path("from/large"), path("from/same")).unwrap();
    fs::write(path("from/odd\n\u{1b}*name"), "").unwrap();
    symlink("below/file", path("from/link")).unwrap();
    fs::set_permissions(path("from/large"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(path("from/below"), fs::Permissions::from_mode(0o500)).unwrap();
    let (_, summary) = copy(&path("from"), &path("to"));
    assert_eq!((summary.entries, summary.left_out), (8, 0));
    assert_eq!(fs::read_to_string(path("to/below/file")).unwrap(), "text");
    assert_eq!(fs::read(path("to/same")).unwrap(), vec![7; 200_001]);
    assert_eq!(fs::read_link(path("to/link")).unwrap(), Path::new("below/file"));
    assert!(path("to/odd\n\u{1b}*name").exists());
    let mode = |name: &str| fs::symlink_metadata(path(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("to/large"), mode("to/below"), mode("to/below/empty")), (0o750, 0o500, 0o755));
    let time = |name: &str| fs::symlink_metadata(path(name)).unwrap().modified().unwrap();
    assert_eq!(time("from/below"), time("to/below"));
    // Copies again over the existing copy; then a file and a link by themselves.
    fs::set_permissions(path("to/below"), fs::Permissions::from_mode(0o700)).unwrap();
    copy(&path("from"), &path("to"));
    for name in ["large", "link"] {
        copy(&path(&format!("from/{name}")), &path("single"));
    }
    assert!(fs::symlink_metadata(path("single")).unwrap().is_symlink());
}

#[test]
fn holes_stay_holes_and_room_that_is_only_allocated_is_one() {
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    fs::create_dir(path("from")).unwrap();
    let file = File::create(path("from/hole")).unwrap();
    file.write_all_at(b"middle", 100 << 20).unwrap();
    file.set_len(1 << 40).unwrap();
    let file = File::create(path("from/ahead")).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 1 << 20).unwrap();
    file.write_all_at(b"log", 0).unwrap();
    let (bytes, _) = copy(&path("from"), &path("to"));
    assert!(bytes.len() < 4 << 20, "{}", bytes.len());
    let hole = File::open(path("to/hole")).unwrap();
    let stat = hole.metadata().unwrap();
    assert_eq!(stat.len(), 1 << 40);
    assert!(stat.blocks() < 10_000, "{}", stat.blocks());
    let mut middle = [0; 6];
    hole.read_exact_at(&mut middle, 100 << 20).unwrap();
    assert_eq!(&middle, b"middle");
    let ahead = fs::read(path("to/ahead")).unwrap();
    assert!(ahead.len() == 1 << 20 && ahead.starts_with(b"log\0"));
}

#[test]
fn a_file_that_grows_is_cut_at_the_size_it_had_and_one_that_shrinks_is_as_long_as_it_is() {
    /// Changes a file as soon as its header has been written.
    struct Meanwhile<'a>(Vec<u8>, Option<Box<dyn FnOnce() + 'a>>);
    impl Write for Meanwhile<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend(bytes);
            if self.0.ends_with(b"log") {
                if let Some(change) = self.1.take() {
                    change();
                }
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    for (size, expected) in [(900_000, 500_000), (100_000, 100_000), (0, 0)] {
        let _ = fs::remove_dir_all(path("from"));
        let _ = fs::remove_dir_all(path("to"));
        fs::create_dir(path("from")).unwrap();
        fs::write(path("from/log"), vec![7; 500_000]).unwrap();
        for number in 0..20 {
            fs::write(path(&format!("from/{number}")), "behind").unwrap();
        }
        let log = File::options().write(true).open(path("from/log")).unwrap();
        let change = || {
            log.set_len(size).unwrap();
            if size > 500_000 {
                log.write_all_at(&vec![8; 400_000], 500_000).unwrap();
            }
        };
        let mut out = Meanwhile(vec![], Some(Box::new(change)));
        send(&path("from"), &mut out).unwrap();
        assert!(out.1.is_none());
        let bytes = std::mem::take(&mut out.0);
        receive_all(&bytes, &path("to"));
        assert_eq!(fs::read(path("to/log")).unwrap(), vec![7; expected]);
        for number in 0..20 {
            assert_eq!(fs::read_to_string(path(&format!("to/{number}"))).unwrap(), "behind");
        }
    }
}

#[test]
fn files_of_the_kernels_have_their_content_whatever_size_they_say() {
    let at = tempfile::tempdir().unwrap();
    copy(Path::new("/proc/self/maps"), &at.path().join("maps"));
    assert!(fs::read_to_string(at.path().join("maps")).unwrap().contains("[stack]"));
    copy(Path::new("/sys/kernel/mm/transparent_hugepage/enabled"), &at.path().join("sys"));
    let sys = fs::read_to_string(at.path().join("sys")).unwrap();
    assert!(sys.contains("never") && sys.len() < 100, "{sys}");
}

#[test]
fn pipes_and_further_names_of_a_file_stay_what_they_are() {
    use std::os::unix::fs::FileTypeExt;
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    fs::create_dir_all(path("from/below")).unwrap();
    rustix::fs::mkfifoat(CWD, path("from/pipe"), Mode::RWXU).unwrap();
    fs::write(path("from/below/file"), vec![7; 100_000]).unwrap();
    for name in ["from/z", "from/below/again"] {
        fs::hard_link(path("from/below/file"), path(name)).unwrap();
    }
    let (bytes, summary) = copy(&path("from"), &path("to"));
    assert_eq!((summary.entries, summary.left_out), (6, 0));
    assert!(bytes.len() < 110_000, "the content comes once");
    let pipe = fs::metadata(path("to/pipe")).unwrap();
    assert!(pipe.file_type().is_fifo() && pipe.mode() & 0o777 == 0o700);
    let file = fs::metadata(path("to/z")).unwrap();
    assert_eq!((file.nlink(), file.len()), (3, 100_000));
    // By itself, and over what is there.
    for _ in 0..2 {
        copy(&path("from/pipe"), &path("alone"));
        assert!(fs::metadata(path("alone")).unwrap().file_type().is_fifo());
    }
    copy(&path("from/z"), &path("alone"));
    assert_eq!(fs::metadata(path("alone")).unwrap().nlink(), 1);
}

#[test]
fn sockets_and_devices_are_left_out_and_told() {
    let at = tempfile::tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    fs::create_dir(path("from")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("from/socket")).unwrap();
    fs::write(path("from/file"), "x").unwrap();
    let (_, summary) = copy(&path("from"), &path("to"));
    assert_eq!((summary.left_out, summary.entries), (1, 3));
    assert_eq!(fs::read_dir(path("to")).unwrap().count(), 1);
    // If the user names one of them, it is an error.
    for (path, what) in [(path("from/socket"), "a socket"), ("/dev/null".into(), "a device")] {
        let error = send(&path, vec![]).unwrap_err().to_string();
        let told = format!("{} is {what}; only files, folders, links", path.display());
        assert!(error.starts_with(&told), "{error}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_the_cause() {
    let error = send(Path::new("/no/such"), vec![]).unwrap_err();
    assert_eq!(error.to_string(), "/no/such");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("No such file"), "{source}");
}
