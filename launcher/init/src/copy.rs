//! The guest's half of `launch cp`: a second process of this program, beside the app and as root, with a
//! stream as its input or output. It can only change the guest.

use crate::failure::cause;
use contract::copy::{OWNERS, RECEIVE, SEND, UNPACK};
use copy::{CopyError, Kind, Limits, Rights, SendError, Top, Tree};
use rustix::fs::{CWD, FileType, Mode, OFlags, chmod, mknodat, open};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, EntryType};

/// The guest's own disk is the only limit.
const LIMITS: Limits =
    Limits { bytes: u64::MAX, entries: u64::MAX, depth: usize::MAX, holes_count: false };
/// More than a record of data, so that one takes one system call.
const BUFFER_BYTES: usize = 128 << 10;

/// Does what `arguments` say, if they are for this role; else `None`. One line to standard error
/// and exit code 1 where it fails.
#[must_use]
pub fn run(arguments: &[OsString]) -> Option<i32> {
    let [role, path, more @ ..] = arguments else { return None };
    let path = Path::new(path);
    let owners = more.last().is_some_and(|word| word == OWNERS);
    let result = match (role.to_str()?, more) {
        (SEND, []) => send(path, io::stdout().lock()),
        (RECEIVE, [name, ..]) => receive(path, name, owners, io::stdin().lock()),
        (UNPACK, _) => unpack(path, owners, io::stdin().lock()),
        _ => return None,
    };
    Some(match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("launch: cannot copy {error}");
            1
        }
    })
}

fn send(path: &Path, out: impl Write) -> io::Result<()> {
    copy::send(path, BufWriter::with_capacity(BUFFER_BYTES, out)).map_err(|error| match error {
        SendError::Read { path, source } => about(&path, &source),
        other => io::Error::other(other),
    })
}

/// Puts what `stream` has into the folder `path`, under `name` or, where that is empty, what is in
/// it; or to `path` itself, where no folder is.
fn receive(path: &Path, name: &OsStr, owners: bool, stream: impl Read) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let is_folder = expect_folder_if_named_so(path)?;
    let target = if is_folder { join(path, Path::new(name)) } else { path.to_owned() };
    let failed = |error| match error {
        CopyError::Write { path: below, source } => about(&join(&target, &below), &source),
        CopyError::Read(source) => about(&target, &source),
        other => io::Error::other(format!("{}: {other}", target.display())),
    };
    let kind = copy::read_preamble(&mut stream).map_err(failed)?;
    let opened = |folder: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(folder, flags, Mode::empty()).map_err(|error| about(&target, &error.into()))
    };
    let top = if is_folder && name.is_empty() && kind == Kind::Folder {
        Top::Folder { folder: opened(path)?, is_new: false }
    } else if is_folder {
        Top::Named { folder: opened(path)?, name: name.to_owned() }
    } else {
        let name = path.file_name().ok_or_else(|| about(path, &io::ErrorKind::NotFound.into()))?;
        Top::Named { folder: opened(path.parent().unwrap_or(path))?, name: name.to_owned() }
    };
    let rights = Rights { mode: 0o7777, owners, follow: true };
    copy::receive(stream, kind, &LIMITS, &mut Tree::new(top, rights)).map(drop).map_err(failed)
}

/// Whether a folder is at `path`.
///
/// # Errors
/// None is, though the path ends as only a folder's may.
fn expect_folder_if_named_so(path: &Path) -> io::Result<bool> {
    let text = path.as_os_str().as_encoded_bytes();
    match path.is_dir() {
        false if text.ends_with(b"/") || text.ends_with(b"/.") => {
            Err(io::Error::other(format!("folder {} is not there", path.display())))
        }
        is_folder => Ok(is_folder),
    }
}

/// Puts the one entry of a tar, and what is below it, to `path`: into it where it is a folder, else
/// in its place.
fn unpack(path: &Path, owners: bool, stream: impl Read) -> io::Result<()> {
    let is_folder = expect_folder_if_named_so(path)?;
    let mut archive = Archive::new(stream);
    archive.set_preserve_ownerships(owners);
    archive.set_preserve_permissions(true);
    // What is in a folder comes without the folder's name: its first entry is a dot.
    let mut has_name = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let named = plain(&entry.path()?)?;
        let has_name = *has_name.get_or_insert(!named.as_os_str().is_empty());
        let dropped = usize::from(has_name && !is_folder);
        let below: PathBuf = named.components().skip(dropped).collect();
        if is_folder && below.as_os_str().is_empty() {
            continue;
        }
        let target = join(path, &below);
        let unpacked = match entry.header().entry_type() {
            // The crate would make an empty file of a pipe, and look for the file from the working directory.
            EntryType::Fifo => make_pipe(&target, entry.header(), owners),
            EntryType::Link => {
                let first = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
                let first: PathBuf = plain(&first)?.components().skip(dropped).collect();
                replace(&target).and_then(|()| fs::hard_link(join(path, &first), &target))
            }
            _ => entry.unpack(&target).map(drop),
        };
        unpacked.map_err(|error| about(&target, &error))?;
    }
    Ok(())
}

fn make_pipe(target: &Path, header: &tar::Header, owners: bool) -> io::Result<()> {
    replace(target)?;
    let mode = Mode::from_raw_mode(header.mode()? & 0o7777);
    mknodat(CWD, target, FileType::Fifo, mode, 0)?;
    if owners {
        let id = |id: u64| u32::try_from(id).map_err(|_| io::ErrorKind::InvalidData);
        std::os::unix::fs::lchown(target, Some(id(header.uid()?)?), Some(id(header.gid()?)?))?;
    }
    Ok(chmod(target, mode)?)
}

/// Makes room for an entry.
fn replace(target: &Path) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A path that stays below where it begins.
fn plain(path: &Path) -> io::Result<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let parts: Vec<Component<'_>> = parts.collect();
    match parts.iter().all(|part| matches!(part, Component::Normal(_))) {
        true => Ok(parts.into_iter().collect()),
        false => {
            Err(io::Error::other(format!("the stream has an unexpected path: {}", path.display())))
        }
    }
}

/// Joining nothing would add a slash.
fn join(path: &Path, below: &Path) -> PathBuf {
    path.join(below).components().collect()
}

/// `path`, and the system's own words for what is wrong with it. The crate `tar` wraps these in its
/// own, which say what it did and not why that failed.
fn about(path: &Path, error: &io::Error) -> io::Error {
    let mut root = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    let mut text = cause(io::Error::other(error.to_string()));
    while let Some(error) = root {
        text = cause(io::Error::other(error.to_string()));
        root = error.source();
    }
    io::Error::other(format!("{}: {text}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(path: &Path) -> Vec<u8> {
        let mut bytes = vec![];
        send(path, &mut bytes).unwrap();
        bytes
    }

    fn words<T: std::fmt::Debug>(result: io::Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_file_goes_into_a_folder_or_takes_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("from"), "text").unwrap();
        fs::create_dir(at("into")).unwrap();
        let stream = sent(&at("from"));
        let put = |path: &str| receive(&at(path), OsStr::new("from"), false, &stream[..]);
        for path in ["into", "named", "named"] {
            put(path).unwrap();
        }
        for name in ["into/from", "named"] {
            assert_eq!(fs::read_to_string(at(name)).unwrap(), "text", "{name}");
        }
        assert!(words(put("missing/")).ends_with("missing/ is not there"));
        assert!(words(put("missing/named")).ends_with("missing/named: no such file or directory"));
        fs::create_dir(at("into/named")).unwrap();
        let error = receive(&at("into"), OsStr::new("named"), false, &stream[..]);
        assert!(words(error).ends_with("into/named: is a directory"));
    }

    #[test]
    fn a_folder_goes_into_a_folder_takes_a_name_or_gives_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("from/below")).unwrap();
        fs::write(at("from/below/file"), "text").unwrap();
        std::os::unix::fs::symlink("below/file", at("from/link")).unwrap();
        fs::create_dir(at("into")).unwrap();
        let stream = sent(&at("from"));
        for (path, name) in [("into", "from"), ("named", "from"), ("into", ""), ("new", "")] {
            receive(&at(path), OsStr::new(name), false, &stream[..]).unwrap();
        }
        for name in ["into/from", "named", "into", "new"] {
            let link = at(name).join("link");
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("below/file"));
            assert_eq!(fs::read_to_string(link).unwrap(), "text", "{name}");
        }
    }

    #[test]
    fn a_tar_goes_into_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = tar::Builder::new(vec![]);
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        builder.append_data(&mut header, "below/file", &b"text"[..]).unwrap();
        let stream = builder.into_inner().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        unpack(&folder.path().join("."), false, &stream[..]).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("below/file")).unwrap(), "text");
        // Pipes and further names of a file, which the crate does not make as they are.
        let mut builder = tar::Builder::new(vec![]);
        header.set_mode(0o640);
        builder.append_data(&mut header, "f", &b"text"[..]).unwrap();
        header.set_size(0);
        header.set_entry_type(EntryType::Link);
        builder.append_link(&mut header, "again", "f").unwrap();
        header.set_entry_type(EntryType::Fifo);
        builder.append_data(&mut header, "pipe", io::empty()).unwrap();
        let several = builder.into_inner().unwrap();
        for _ in 0..2 {
            use std::os::unix::fs::{FileTypeExt, MetadataExt};
            unpack(&folder.path().join("."), false, &several[..]).unwrap();
            let kind = |name: &str| fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!((kind("again").ino(), kind("again").nlink()), (kind("f").ino(), 2));
            assert!(kind("pipe").file_type().is_fifo() && kind("pipe").mode() & 0o777 == 0o640);
        }
        // The system's words, and not only what was done when it failed.
        let error = words(unpack(&folder.path().join("none/below"), false, &stream[..]));
        assert!(error.ends_with(": no such file or directory"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = words(send(Path::new("/no/such"), vec![]));
        assert_eq!(error, "/no/such: no such file or directory");
    }
}
