//! `launch cp`: copy files between a running app and this machine, as `docker cp` does.
//!
//! The files go as a tar stream through `launch exec` of the guest's `init`. What a guest sends is
//! not trusted: nothing is written but below the one file or folder that was asked for.

use crate::output::note;
use anyhow::{Context, Result, bail, ensure};
use contract::copy::{OWNERS, PACK, PROGRAM, UNPACK};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use tar::{Archive, Builder, EntryType};

/// From where to where.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A folder DEST takes what is copied into it; else it is the copy's name. SOURCE/. stands for what is in
a folder. `-` is a tar stream: as SOURCE one that is unpacked into DEST, as DEST one of SOURCE.
Copies belong to root, and on this machine to whoever copies.")]
pub(crate) struct Args {
    /// Keep the owners' numbers, of what is copied to an app
    #[arg(short, long)]
    archive: bool,
    /// Tell nothing
    #[arg(short, long)]
    quiet: bool,
    /// PATH here, APP:PATH, or -
    source: String,
    /// APP:PATH, PATH here, or -
    dest: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let code = match (in_app(&args.source), in_app(&args.dest)) {
        (Some((app, path)), None) => from_app(app, path, &args.dest)?,
        (None, Some((app, path))) => to_app(&args.source, app, path, args.archive)?,
        (Some(_), Some(_)) => bail!("cannot copy between apps; copy to this machine in between"),
        (None, None) => bail!("neither is in an app; write APP:PATH for one of them"),
    };
    if !args.quiet && code == ExitCode::SUCCESS {
        note(format_args!("Copied {} to {}", args.source, args.dest));
    }
    Ok(code)
}

/// `APP:PATH`, but not what is clearly a path here.
fn in_app(text: &str) -> Option<(&str, &str)> {
    let (app, path) = text.split_once(':')?;
    (!app.is_empty() && !app.contains('/') && !app.starts_with('.')).then_some((app, path))
}

fn from_app(app: &str, path: &str, dest: &str) -> Result<ExitCode> {
    let to_stream = dest == "-";
    let name = name_of(path).unwrap_or_else(|| if to_stream { ".".into() } else { app.into() });
    let (folder, name) = match to_stream {
        true => (PathBuf::new(), name),
        false => place(Path::new(dest), path, &name)?,
    };
    let name_text = name.to_str().context("the copy's name is not UTF-8")?;
    let mut child = in_guest(app, false, &[PACK, &guest_path(path), name_text])?;
    let stream = child.stdout.take().context("no pipe")?;
    let copied = match to_stream {
        true => pass(stream, io::stdout().lock()),
        false => unpack(stream, &folder, &name, dest.ends_with('/')),
    };
    finish(child, copied)
}

fn to_app(source: &str, app: &str, path: &str, owners: bool) -> Result<ExitCode> {
    let path = guest_path(path);
    let start = |path: &str| match owners {
        true => in_guest(app, true, &[UNPACK, path, OWNERS]),
        false => in_guest(app, true, &[UNPACK, path]),
    };
    if source == "-" {
        // Entries keep their names only where they go into a folder.
        let mut child = start(&format!("{}/.", path.trim_end_matches('/')))?;
        let stream = child.stdin.take().context("no pipe")?;
        return finish(child, pass(io::stdin().lock(), stream));
    }
    let from = Path::new(source);
    let kind = fs::symlink_metadata(from).with_context(|| format!("cannot copy {source}"))?;
    let name = match name_of(source) {
        Some(name) if !is_contents(source) => name,
        _ => ".".into(),
    };
    let mut child = start(&path)?;
    let mut builder = Builder::new(child.stdin.take().context("no pipe")?);
    builder.follow_symlinks(false);
    let packed = match kind.is_dir() {
        true => builder.append_dir_all(&name, from),
        false => builder.append_path_with_name(from, &name),
    };
    let packed = packed.and_then(|()| builder.into_inner().map(drop));
    finish(child, packed.with_context(|| format!("cannot copy {source}")))
}

/// Docker's rule: paths in an app begin at its root.
fn guest_path(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// Whether the path stands for what is in a folder.
fn is_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

fn name_of(path: &str) -> Option<PathBuf> {
    Path::new(path).file_name().map(PathBuf::from)
}

/// The folder on this machine, and the name in it, for a copy of `source`.
fn place(dest: &Path, source: &str, name: &Path) -> Result<(PathBuf, PathBuf)> {
    if dest.is_dir() {
        let name = if is_contents(source) { Path::new(".") } else { name };
        return Ok((dest.to_owned(), name.to_owned()));
    }
    let name = dest.file_name().with_context(|| format!("{} is no name", dest.display()))?;
    let folder = dest.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    ensure!(folder.is_dir(), "folder {} is not there", folder.display());
    Ok((folder, name.into()))
}

/// Runs the guest's `init` beside the app, as root, with a stream from or to us.
fn in_guest(app: &str, input: bool, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("cannot find launch")?);
    command.arg("exec").args(input.then_some("-i")).args(["-u", "0:0", "-w", "/", app, PROGRAM]);
    command.args(arguments);
    let (stdin, stdout) = match input {
        true => (Stdio::piped(), Stdio::null()),
        false => (Stdio::null(), Stdio::piped()),
    };
    command.stdin(stdin).stdout(stdout).spawn().context("cannot start launch exec")
}

/// Waits for the guest. What it has to say is on standard error already, and comes before that its
/// end of the stream is gone.
fn finish(mut child: Child, copied: Result<()>) -> Result<ExitCode> {
    // It may wait for us to read on.
    drop(child.stdout.take());
    let status = child.wait().context("cannot wait for launch exec")?;
    let is_cut = copied.as_ref().is_err_and(|error| {
        let cause = error.root_cause().downcast_ref::<io::Error>();
        cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    if !is_cut {
        copied?;
    }
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn pass(mut from: impl Read, mut to: impl Write) -> Result<()> {
    io::copy(&mut from, &mut to).and_then(|_| to.flush()).context("cannot copy the stream")
}

/// Unpacks what a guest sends: files, folders and links that are `name` in `folder` or below it.
fn unpack(stream: impl Read, folder: &Path, name: &Path, is_folder: bool) -> Result<()> {
    let root: PathBuf = folder.join(name).components().collect();
    let mut archive = Archive::new(stream);
    archive.set_preserve_permissions(false);
    archive.set_unpack_xattrs(false);
    let mut is_first = true;
    for entry in archive.entries().context("cannot read what the guest sends")? {
        let mut entry = entry.context("cannot read what the guest sends")?;
        let kind = entry.header().entry_type();
        let path = entry.path().context("the guest sends an odd name")?.into_owned();
        let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        let odd = || format!("the guest sends {}, which was not asked for", path.display());
        let below = match name == Path::new(".") {
            true => path.as_path(),
            false => path.strip_prefix(name).with_context(odd)?,
        };
        let parts: Vec<Component<'_>> = below.components().collect();
        ensure!(parts.iter().all(|part| matches!(part, Component::Normal(_))), odd());
        ensure!(
            matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Symlink),
            "the guest sends {}, which is neither file, folder nor link",
            path.display()
        );
        if is_first {
            ensure!(!is_folder || kind == EntryType::Directory, "{} is not there", root.display());
            is_first = false;
        }
        // No link on the way there: neither the guest's own nor one that was here before.
        let mut on_the_way = root.clone();
        for part in &parts {
            let kind = fs::symlink_metadata(&on_the_way);
            let kind = kind.with_context(|| format!("cannot look at {}", on_the_way.display()))?;
            ensure!(kind.is_dir(), "{} is no folder", on_the_way.display());
            on_the_way.push(part);
        }
        let target = on_the_way;
        let is_there = || fs::symlink_metadata(&target).is_ok_and(|kind| kind.is_dir());
        if kind == EntryType::Directory && is_there() {
            continue;
        }
        entry.unpack(&target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::Header;

    fn stream(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(vec![]);
        for (kind, name, text) in entries {
            let mut header = Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name(text).unwrap();
            }
            let body = if *kind == EntryType::Regular { text.as_bytes() } else { &[] };
            header.set_size(body.len() as u64);
            header.set_cksum();
            builder.append(&header, body).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn what_a_guest_sends_stays_below_what_was_asked_for() {
        use EntryType::{Directory, Link, Regular, Symlink};
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap();
        for entries in [
            &[(Regular, "other", "x")][..],
            &[(Regular, "../copy", "x")],
            &[(Directory, "copy", ""), (Regular, "copy/../other", "x")],
            &[(Symlink, "copy", target), (Regular, "copy/file", "x")],
            &[(Directory, "copy", ""), (Symlink, "copy/a", target), (Regular, "copy/a/file", "x")],
            &[(Directory, "copy", ""), (Link, "copy/a", "/etc/passwd")],
            &[(EntryType::Char, "copy", "")],
            &[(EntryType::Fifo, "copy", "")],
        ] {
            let folder = tempfile::tempdir().unwrap();
            let bytes = stream(entries);
            assert!(
                unpack(&bytes[..], folder.path(), Path::new("copy"), false).is_err(),
                "{entries:?}"
            );
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{entries:?}");
            let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(left.into_iter().all(|name| name == "copy"), "{entries:?}");
        }
    }

    #[test]
    fn a_link_that_was_here_before_is_not_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("copy")).unwrap();
        let bytes = stream(&[(EntryType::Regular, "copy/file", "x")]);
        assert!(unpack(&bytes[..], folder.path(), Path::new("copy"), false).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn copies_lose_the_bits_that_give_rights() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let bytes = stream(&[(EntryType::Regular, "copy", "x")]);
        unpack(&bytes[..], folder.path(), Path::new("copy"), false).unwrap();
        let mode = fs::metadata(folder.path().join("copy")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7000, 0);
    }

    #[test]
    fn the_place_of_a_copy_is_dockers() {
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path();
        let name = Path::new("conf");
        let at = |dest: &Path, source: &str| place(dest, source, name).ok();
        assert_eq!(at(dest, "/etc/conf"), Some((dest.into(), "conf".into())));
        assert_eq!(at(dest, "/etc/conf/."), Some((dest.into(), ".".into())));
        assert_eq!(at(&dest.join("new"), "/etc/conf"), Some((dest.into(), "new".into())));
        assert_eq!(at(&dest.join("no/new"), "/etc/conf"), None);
    }

    #[test]
    fn apps_and_paths_are_told_apart() {
        assert_eq!(in_app("web:/etc/conf"), Some(("web", "/etc/conf")));
        for here in ["/a:b", "./a:b", "conf", "-", ":x"] {
            assert_eq!(in_app(here), None, "{here}");
        }
    }
}
