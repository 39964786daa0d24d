//! A directory of this machine as the tests' reader shows a disk, and the programs found here.

use crate::reader::{Files, Found};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Reads all below `top`, the root included.
pub(crate) fn read_tree(top: &Path) -> Files {
    let mut files = Files::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let at = top.join(OsStr::from_bytes(&path));
        let metadata = at.symlink_metadata().unwrap();
        let kind = metadata.mode() & 0o170_000;
        let data = match kind {
            0o100_000 => std::fs::read(&at).unwrap(),
            0o120_000 => std::fs::read_link(&at).unwrap().into_os_string().into_vec(),
            _ => Vec::new(),
        };
        if kind == 0o040_000 {
            for entry in std::fs::read_dir(&at).unwrap() {
                let mut below = path.clone();
                if !below.is_empty() {
                    below.push(b'/');
                }
                below.extend_from_slice(entry.unwrap().file_name().as_bytes());
                todo.push(below);
            }
        }
        let device = metadata.rdev();
        let found = Found {
            mode: u16::try_from(metadata.mode()).unwrap(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            links: u32::try_from(metadata.nlink()).unwrap(),
            mtime: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap()),
            device: (rustix::fs::major(device), rustix::fs::minor(device)),
            xattrs: read_xattrs(&at),
            data,
            nid: metadata.ino(),
        };
        files.insert(path, found);
    }
    files
}

fn read_xattrs(path: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 65_536];
    // Not every file system has any.
    let length = rustix::fs::llistxattr(path, &mut list).unwrap_or(0);
    list[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
            value.truncate(length);
            (name.escape_ascii().to_string(), value)
        })
        .collect()
}

/// What two views must agree on besides names; inode numbers differ, their groups must not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Compare {
    pub(crate) owners: bool,
    pub(crate) xattrs: bool,
    pub(crate) times: bool,
    pub(crate) links: bool,
    /// Setuid and setgid of files.
    pub(crate) set_ids: bool,
    /// Link counts of directories; not all file systems count as EROFS does.
    pub(crate) directory_links: bool,
}

/// Fails with the first difference.
pub(crate) fn assert_same(what: &str, disk: &Files, other: &Files, compare: Compare) {
    let names = |files: &Files| -> Vec<String> {
        files.keys().map(|path| path.escape_ascii().to_string()).collect()
    };
    assert_eq!(names(disk), names(other), "names: {what}");
    let mut nids = std::collections::HashMap::new();
    for (path, ours) in disk {
        let theirs = &other[path];
        let at = format!("{what}: {}", path.escape_ascii());
        let shown = |mode: u16| {
            let directory = mode & 0o170_000 == 0o040_000;
            let mask = if compare.set_ids || directory { 0o177_777 } else { 0o171_777 };
            format!("{:o}", mode & mask)
        };
        assert_eq!(shown(ours.mode), shown(theirs.mode), "mode: {at}");
        assert!(ours.data == theirs.data, "data: {at}");
        assert_eq!(ours.device, theirs.device, "device: {at}");
        if compare.owners {
            assert_eq!((ours.uid, ours.gid), (theirs.uid, theirs.gid), "owner: {at}");
        }
        if compare.times {
            assert_eq!(ours.mtime, theirs.mtime, "time: {at}");
        }
        if compare.xattrs {
            assert_eq!(ours.xattrs, theirs.xattrs, "attributes: {at}");
        }
        let directory = ours.mode & 0o170_000 == 0o040_000;
        if compare.links && !directory {
            let same = nids.entry(ours.nid).or_insert(theirs.nid);
            assert_eq!(*same, theirs.nid, "links: {at}");
        }
        if if directory { compare.directory_links } else { compare.links } {
            assert_eq!(ours.links, theirs.links, "link count: {at}");
        }
    }
}

/// Whether `program` can be run; if not, says that `test` is skipped.
pub(crate) fn has(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory: std::path::PathBuf| directory.join(program).is_file());
    if !found {
        println!("skipped: {test}: {program} is not installed");
    }
    found
}

/// Whether this is root; if not, says that `test` is skipped.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test}: only root can make devices and owners");
    }
    root
}

/// Runs a program and fails with its output when it fails.
pub(crate) fn run(program: &str, arguments: &[&OsStr]) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let shown: Vec<OsString> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    assert!(output.status.success(), "{program} {shown:?}: {text}");
    text
}
