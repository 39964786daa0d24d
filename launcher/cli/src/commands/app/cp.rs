//! `launch cp`: copy files between a running app and this machine, as `docker cp` does.
//!
//! The files travel as a stream in the format of the crate `copy`, through `launch exec` of the guest's `init`. The
//! guest is not trusted: a process without rights reads the stream and writes into a new folder, and only a complete
//! copy is moved to its destination.

mod interrupt;
mod process;
pub(crate) mod receiver;
mod stage;
mod tarball;

use crate::output::{note, say};
use crate::settings::Settings;
use anyhow::{Context, Result, anyhow, bail, ensure};
use app::request::parse_size_bytes;
use contract::copy::{OWNERS, RECEIVE, SEND, UNPACK};
use copy::SendError;
use interrupt::{Interrupt, Interrupted};
use process::{Process, words};
use receiver::{Job, Received};
use stage::Stage;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitCode};
use std::time::Duration;

/// How long the guest's process may take to end after its stream has ended, or to say why it sent no more.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The default limit on a tar's size, because the free space at its destination is not known.
const MAX_TAR_BYTES: u64 = 1 << 40;
/// The default limit on entries, if not fewer are free.
const MAX_ENTRIES: u64 = 10_000_000;
const BUFFER_BYTES: usize = 128 << 10;

/// The source and the destination of the copy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
If DEST is a folder, the copy goes into it; otherwise DEST is the copy's name. SOURCE/. means the contents
of a folder. As SOURCE, `-` reads a tar from standard input and unpacks it into DEST; as DEST, it writes
SOURCE as a tar to standard output. Copies belong to root in an app, and to the copying user on this machine.
Only files, folders and links are copied out of an app, no pipes, sockets or devices. The limits apply to
copies out of an app.")]
pub(crate) struct Args {
    /// Keep the numbers of the owners, when copying to an app
    #[arg(short, long)]
    archive: bool,
    /// Print no message about the completed copy
    #[arg(short, long)]
    quiet: bool,
    /// Largest size of the copy [default: the free space here less a twentieth; for a tar: 1t]
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    max_size: Option<u64>,
    /// Most files and folders [default: 10000000]
    #[arg(long, value_name = "COUNT")]
    max_entries: Option<u64>,
    /// Deepest nesting of folders
    #[arg(long, value_name = "COUNT", default_value = "500")]
    max_depth: usize,
    /// PATH here, APP:PATH, or -
    source: String,
    /// APP:PATH, PATH here, or -
    dest: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let copied = match (in_app(&args.source), in_app(&args.dest)) {
        (Some((app, path)), None) => from_app(args, app, path),
        (None, Some((app, path))) => to_app(&args.source, app, path, args.archive),
        (Some(_), Some(_)) => bail!("cannot copy between two apps; copy to this machine first"),
        (None, None) => bail!("neither path is in an app; write one of them as APP:PATH"),
    };
    match copied {
        Ok(()) => {
            if !args.quiet {
                note(format_args!("Copied {} to {}", args.source, args.dest));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => match error.downcast_ref::<Interrupted>() {
            Some(interrupted) => {
                let left = left(args);
                say(format_args!("{interrupted} while copying {}; {left}", args.source));
                Ok(ExitCode::from(interrupted.exit_code()))
            }
            None => Err(error),
        },
    }
}

/// Describes the result of an interrupted copy.
fn left(Args { dest, .. }: &Args) -> String {
    match in_app(dest) {
        Some(_) => format!("{dest} may not be complete"),
        None if dest == "-" => "the tar is not complete".into(),
        None => format!("nothing was written to {dest}"),
    }
}

/// Splits `APP:PATH`; `None` for what is clearly a path on this machine.
fn in_app(text: &str) -> Option<(&str, &str)> {
    let (app, path) = text.split_once(':')?;
    (!app.is_empty() && !app.contains('/') && !app.starts_with('.')).then_some((app, path))
}

fn from_app(args: &Args, app: &str, path: &str) -> Result<()> {
    let Args { source, dest, .. } = args;
    let interrupt = Interrupt::catch()?;
    let to_stream = dest == "-";
    let name = name_of(path).unwrap_or_else(|| if to_stream { ".".into() } else { app.into() });
    let stage = match to_stream {
        true => None,
        false => {
            let (folder, name) = place(Path::new(dest), path, &name)?;
            Some(Stage::new(&folder, &name)?)
        }
    };
    let (free, entries) = match &stage {
        Some(stage) => stage.free()?,
        None => (MAX_TAR_BYTES, MAX_ENTRIES),
    };
    let job = Job {
        tar: to_stream.then_some(name),
        max_bytes: args.max_size.unwrap_or(free),
        max_entries: args.max_entries.unwrap_or(entries.min(MAX_ENTRIES)),
        max_depth: args.max_depth,
        allow_unsandboxed: Settings::read()?.image.allow_unsandboxed_fetch,
    };
    let from = guest_path(path);
    let mut guest = Process::in_guest(app, false, &[OsStr::new(SEND), OsStr::new(&from)])?;
    let place = stage.as_ref().map(Stage::path);
    let receiver = receiver::start(guest.stdout()?, &job, place.as_deref())?;
    let (status, said) = receiver.end(&interrupt, None)?;
    let failed = |why: String| anyhow!("cannot copy {source}: {why}");
    match receiver::outcome(status, &said) {
        Received::Whole(notes) => {
            let (status, said) = guest.end(&interrupt, Some(LAST_WORDS))?;
            // The guest's process has sent everything. If it does not end, it is killed, and that is no failure.
            if status.code().is_some_and(|code| code != 0) {
                return Err(failed(words(&said).unwrap_or_else(|| status.to_string())));
            }
            stage.map_or(Ok(()), |stage| stage.put(dest.ends_with('/')))?;
            notes.into_iter().for_each(say);
            Ok(())
        }
        Received::Cut(why) => {
            let (_, said) = guest.end(&interrupt, Some(LAST_WORDS))?;
            Err(failed(words(&said).unwrap_or(why)))
        }
        Received::TooLarge(why) if args.max_size.is_none() && !to_stream => Err(failed(format!(
            "{why}; {dest} has no more free space, apart from a reserve of a twentieth"
        ))),
        Received::TooLarge(why) | Received::Failed(why) => Err(failed(why)),
    }
}

fn to_app(source: &str, app: &str, path: &str, owners: bool) -> Result<()> {
    let interrupt = Interrupt::catch()?;
    let is_tar = source == "-";
    if !is_tar {
        // Before the guest is asked for anything.
        std::fs::symlink_metadata(source).with_context(|| format!("cannot copy {source}"))?;
    }
    let (role, to, name) = match is_tar {
        // Entries keep their names only if they go into a folder.
        true => (UNPACK, format!("{}/.", guest_path(path).trim_end_matches('/')), None),
        false => {
            let name = name_of(source).filter(|_| !is_contents(source)).unwrap_or_default();
            (RECEIVE, guest_path(path), Some(name.into_os_string()))
        }
    };
    let mut words_for_guest = vec![OsString::from(role), to.into()];
    words_for_guest.extend(name);
    words_for_guest.extend(owners.then(|| OWNERS.into()));
    let words_for_guest: Vec<&OsStr> = words_for_guest.iter().map(OsString::as_os_str).collect();
    let mut guest = Process::in_guest(app, true, &words_for_guest)?;

    // A guest that reads nothing must not keep this command from ending.
    let (done, finishes) = UnixStream::pair().context("cannot make a pair of sockets")?;
    let (stream, from) = (guest.stdin()?, source.to_owned());
    let sending = std::thread::spawn(move || {
        let sent = feed(&from, stream);
        drop(finishes);
        sent
    });
    interrupt.wait(done.as_fd(), None)?;
    let sent = sending.join().unwrap_or(Ok(()));
    // An unreadable file here is not the guest's fault.
    let sent = match sent {
        Err(SendError::Read { path, source }) => {
            return Err(source).with_context(|| format!("cannot copy {}", path.display()));
        }
        Err(error @ SendError::NotCopied { .. }) => bail!("cannot copy {error}"),
        sent => sent,
    };
    let (status, said) = guest.end(&interrupt, None)?;
    match (status.success(), sent) {
        (true, Ok(())) => Ok(()),
        (_, sent) => {
            let why = words(&said).or_else(|| sent.err().map(|error| error.to_string()));
            bail!("cannot copy {source}: {}", why.unwrap_or_else(|| status.to_string()))
        }
    }
}

/// Writes `source` to the guest's process.
fn feed(source: &str, stream: ChildStdin) -> Result<(), SendError> {
    let mut stream = BufWriter::with_capacity(BUFFER_BYTES, stream);
    match source {
        "-" => {
            let copied = io::copy(&mut io::stdin().lock(), &mut stream).map(drop);
            copied.and_then(|()| stream.flush()).map_err(SendError::Stream)
        }
        _ => copy::send(Path::new(source), stream),
    }
}

/// Docker's rule: paths in an app begin at its root.
fn guest_path(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// Whether the path means the contents of a folder.
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
    let name = dest
        .file_name()
        .with_context(|| format!("{} does not end in a file name", dest.display()))?;
    let folder = dest.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    ensure!(folder.is_dir(), "folder {} does not exist", folder.display());
    Ok((folder, name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
