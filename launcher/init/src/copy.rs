//! The guest's half of `launch cp`: this program once more, beside the app and as root, with a tar
//! stream as its input or output. What it may touch is the guest's own.

use crate::failure::cause;
use contract::copy::{OWNERS, PACK, UNPACK};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Builder};

/// Does what `arguments` say, if they are for this role; else `None`. One line to standard error
/// and exit code 1 where it fails.
#[must_use]
pub fn run(arguments: &[OsString]) -> Option<i32> {
    let [role, path, more @ ..] = arguments else { return None };
    let path = Path::new(path);
    let result = match (role.to_str()?, more) {
        (PACK, [name]) => pack(path, Path::new(name), io::stdout().lock()),
        (UNPACK, more) => unpack(path, more.iter().any(|word| word == OWNERS), io::stdin().lock()),
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

/// Writes `path`, and what is below it, as `name`.
fn pack(path: &Path, name: &Path, out: impl Write) -> io::Result<()> {
    let failed = |error| about(path, error);
    let kind = fs::symlink_metadata(path).map_err(failed)?;
    let mut builder = Builder::new(out);
    builder.follow_symlinks(false);
    match kind.is_dir() {
        true => builder.append_dir_all(name, path).map_err(failed)?,
        false if kind.is_file() => {
            builder.append_file(name, &mut File::open(path).map_err(failed)?).map_err(failed)?;
        }
        false => builder.append_path_with_name(path, name).map_err(failed)?,
    }
    builder.into_inner().and_then(|mut out| out.flush()).map_err(failed)
}

/// Puts the one entry of `stream`, and what is below it, to `path`: into it where it is a folder,
/// else in its place.
fn unpack(path: &Path, owners: bool, stream: impl Read) -> io::Result<()> {
    let is_folder = path.is_dir();
    let text = path.as_os_str().as_encoded_bytes();
    if !is_folder && (text.ends_with(b"/") || text.ends_with(b"/.")) {
        return Err(io::Error::other(format!("folder {} is not there", path.display())));
    }
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
        // Joining nothing would add a slash.
        let target: PathBuf = path.join(below).components().collect();
        entry.unpack(&target).map_err(|error| about(&target, error))?;
    }
    Ok(())
}

/// A path that stays below where it begins.
fn plain(path: &Path) -> io::Result<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let parts: Vec<Component<'_>> = parts.collect();
    match parts.iter().all(|part| matches!(part, Component::Normal(_))) {
        true => Ok(parts.into_iter().collect()),
        false => Err(io::Error::other(format!("the stream names {}", path.display()))),
    }
}

fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::other(format!("{}: {}", path.display(), cause(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(path: &Path, name: &str) -> Vec<u8> {
        let mut bytes = vec![];
        pack(path, Path::new(name), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_file_goes_into_a_folder_or_takes_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("from"), "text").unwrap();
        fs::create_dir(at("into")).unwrap();
        let stream = packed(&at("from"), "from");
        unpack(&at("into"), false, &stream[..]).unwrap();
        unpack(&at("named"), false, &stream[..]).unwrap();
        unpack(&at("named"), false, &stream[..]).unwrap();
        for name in ["into/from", "named"] {
            assert_eq!(fs::read_to_string(at(name)).unwrap(), "text", "{name}");
        }
        assert!(unpack(&at("missing/"), false, &stream[..]).is_err());
        assert!(unpack(&at("missing/named"), false, &stream[..]).is_err());
    }

    #[test]
    fn a_folder_goes_into_a_folder_takes_a_name_or_gives_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("from/below")).unwrap();
        fs::write(at("from/below/file"), "text").unwrap();
        std::os::unix::fs::symlink("below/file", at("from/link")).unwrap();
        fs::create_dir(at("into")).unwrap();
        let stream = packed(&at("from"), "from");
        unpack(&at("into"), false, &stream[..]).unwrap();
        unpack(&at("named"), false, &stream[..]).unwrap();
        let contents = packed(&at("from"), ".");
        unpack(&at("into"), false, &contents[..]).unwrap();
        unpack(&at("new"), false, &contents[..]).unwrap();
        for name in ["into/from", "named", "into", "new"] {
            let link = at(name).join("link");
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("below/file"));
            assert_eq!(fs::read_to_string(link).unwrap(), "text", "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = pack(Path::new("/no/such"), Path::new("such"), vec![]).unwrap_err();
        assert!(error.to_string().starts_with("/no/such: "), "{error}");
    }
}
