//! The launcher's side: starts the child, answers it, and believes as little as it can.

use super::{
    FailureKind, FetchError,
    channel::Channel,
    messages::{Answer, Done, Input, Order, Request, Resolved},
};
use crate::{
    credentials,
    digest::Digest,
    failure::plain,
    manifest::MAX_LAYERS,
    progress::{Event, Progress},
    reference::Reference,
    settings::Settings,
    source::Source,
    store::StoreError,
};
use contract::Untrusted;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::Duration,
};

/// The user that fetches when there is no user of the right name.
const DEFAULT_UID: u32 = 64321;
const USER: &str = "_launch";
/// All that the child gets of the environment: proxies, the resolver's settings, logging.
const ENVIRONMENT: &[&str] = &[
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "RUST_BACKTRACE",
];
/// What is kept of the child's standard error.
const MAX_STDERR: usize = 16 << 10;
const MAX_NAMES: usize = 64;

/// What to do once it is known which image it is.
pub(crate) enum Decision {
    /// Convert into this file.
    Write(File),
    /// It is there already.
    Stop,
}

/// What became of it.
pub(crate) struct Fetched {
    /// Full names for the image.
    pub(crate) names: Vec<String>,
    /// `None` after [`Decision::Stop`].
    pub(crate) done: Option<Done>,
}

/// Asked once, when the digest is known or is known to be unknown until the end.
type Decide<'a> =
    &'a mut dyn FnMut(Option<Digest>, &mut dyn Progress) -> Result<Decision, StoreError>;

/// Fetches and converts `source` in a child without root.
pub(crate) fn fetch(
    source: &Source,
    settings: &Settings,
    progress: &mut dyn Progress,
    decide: Decide<'_>,
) -> Result<Fetched, StoreError> {
    let name = source.to_string();
    let opened = Opened::of(source)?;
    let request = Request {
        name: name.clone(),
        input: input(source),
        settings: settings.clone(),
        credentials: match source {
            Source::Registry(reference) => credentials::find(reference, settings),
            _ => Default::default(),
        },
        uid: settings.fetch_uid.unwrap_or_else(user_id),
    };
    progress.event(&Event::Resolving { name: name.clone() });
    let mut running = Running::start(&settings.fetcher)?;
    let archive = opened.archive.as_ref().map(|file| file.as_fd());
    let sent = running.channel.send(&Order::Fetch(Box::new(request)), archive);
    let answered = match sent {
        Ok(()) => converse(&mut running.channel, source, &opened, progress, decide),
        Err(source) => Err(FetchError::Child { action: "talk to it", source }.into()),
    };
    match answered {
        Ok(Some(fetched)) => Ok(fetched),
        // It left without a result; how it ended says more than a broken socket.
        Ok(None) | Err(StoreError::Fetch(FetchError::Child { .. })) => {
            Err(FetchError::Died { name, how: running.end() }.into())
        }
        Err(error) => Err(error),
    }
}

fn converse(
    channel: &mut Channel,
    source: &Source,
    opened: &Opened,
    progress: &mut dyn Progress,
    decide: Decide<'_>,
) -> Result<Option<Fetched>, StoreError> {
    let broken = |source| FetchError::Child { action: "talk to the child that fetches", source };
    let wrong = |what: &str| broken(io::Error::other(what.to_owned()));
    let mut resolved: Option<Resolved> = None;
    while let Some((answer, _)) = channel.receive::<Answer>().map_err(broken)? {
        match answer {
            Answer::Event(event) => {
                if let Some(event) = believable(event) {
                    progress.event(&event);
                }
            }
            Answer::Open { path } => {
                match opened.open(&path) {
                    Ok(file) => channel.send(&Order::File, Some(file.as_fd())),
                    Err(error) => {
                        let missing = error.kind() == io::ErrorKind::NotFound;
                        channel.send(&Order::NoFile { missing, cause: plain(&error) }, None)
                    }
                }
                .map_err(broken)?;
            }
            Answer::Resolved(_) if resolved.is_some() => {
                return Err(wrong("it changed its mind about the image").into());
            }
            Answer::Resolved(Resolved { digest, names }) => {
                let names = names_for(source, &names);
                match decide(digest, progress)? {
                    Decision::Write(file) => channel.send(&Order::Write, Some(file.as_fd())),
                    Decision::Stop => {
                        channel.send(&Order::Stop, None).map_err(broken)?;
                        return Ok(Some(Fetched { names, done: None }));
                    }
                }
                .map_err(broken)?;
                resolved = Some(Resolved { digest, names });
            }
            Answer::Done(done) => {
                let Some(resolved) = resolved else {
                    return Err(wrong("it skipped a step").into());
                };
                if resolved.digest.is_some_and(|digest| digest != done.digest) {
                    return Err(wrong("it changed its mind about the image").into());
                }
                return Ok(Some(Fetched { names: resolved.names, done: Some(*done) }));
            }
            Answer::Failed { kind, message } => {
                return Err(FetchError::Failed { kind, message: one_line(&message) }.into());
            }
        }
    }
    Ok(None)
}

/// What of an event may reach a terminal.
fn believable(event: Event) -> Option<Event> {
    match event {
        Event::Layers { mut bytes } => {
            bytes.truncate(MAX_LAYERS);
            Some(Event::Layers { bytes })
        }
        Event::Layer { .. } | Event::Finishing | Event::Retry { .. } => Some(event),
        // These are the launcher's own to tell.
        Event::Resolving { .. } | Event::Waiting { .. } | Event::Present { .. } => None,
    }
}

/// The names an image gets: the one it was asked for by; from a docker-archive those in it, as
/// `docker load` does, but none with a digest: only a registry's answer was ever compared with that.
fn names_for(source: &Source, told: &[String]) -> Vec<String> {
    if let Source::DockerArchive { .. } = source {
        let told = told.iter().take(MAX_NAMES).filter_map(|name| name.parse::<Reference>().ok());
        let tags = told.filter(|name| name.digest().is_none());
        let mut names: Vec<_> = tags.map(|name| name.to_string()).collect();
        names.push(source.to_string());
        return names;
    }
    vec![source.to_string()]
}

fn input(source: &Source) -> Input {
    match source {
        Source::Registry(reference) => Input::Registry(reference.clone()),
        Source::DockerArchive { image, .. } => Input::DockerArchive { image: image.clone() },
        Source::OciArchive { tag, .. } => Input::OciArchive { tag: tag.clone() },
        Source::OciLayout { tag, .. } => Input::OciLayout { tag: tag.clone() },
        Source::Rootfs(_) => Input::Rootfs,
    }
}

/// What the source has on this machine, opened with the launcher's rights.
#[derive(Default)]
struct Opened {
    archive: Option<File>,
    folder: Option<OwnedFd>,
}

impl Opened {
    fn of(source: &Source) -> Result<Self, StoreError> {
        let io_error = |path: &Path, source: io::Error| {
            let kind = match source.kind() {
                io::ErrorKind::NotFound => FailureKind::NotFound,
                _ => FailureKind::Other,
            };
            let message = format!("cannot open {}: {}", path.display(), plain(&source));
            FetchError::Failed { kind, message: message.into() }
        };
        match source {
            Source::Registry(_) => Ok(Self::default()),
            Source::OciLayout { folder: path, .. } => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let folder = rustix::fs::open(path, flags, Mode::empty())
                    .map_err(|error| io_error(path, error.into()))?;
                Ok(Self { folder: Some(folder), archive: None })
            }
            Source::DockerArchive { file: path, .. }
            | Source::OciArchive { file: path, .. }
            | Source::Rootfs(path) => {
                let file = File::open(path).map_err(|error| io_error(path, error))?;
                let is_folder = file.metadata().is_ok_and(|metadata| metadata.is_dir());
                if is_folder {
                    return Err(io_error(path, io::ErrorKind::IsADirectory.into()).into());
                }
                Ok(Self { archive: Some(file), folder: None })
            }
        }
    }

    /// Opens a file of the layout folder for the child, which may not be able to itself. Only the
    /// names a layout has, and nothing through links, so that it gets no other file of root's.
    fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let folder = self.folder.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        let blob = path.strip_prefix("blobs/sha256/").map(Digest::from_hex);
        if !matches!(path, "index.json" | "oci-layout") && !matches!(blob, Some(Ok(_))) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let file = rustix::fs::openat2(
            folder,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        match kind {
            rustix::fs::FileType::RegularFile => Ok(file),
            _ => Err(io::Error::other("not a regular file")),
        }
    }
}

/// The child; killed when this goes.
struct Running {
    child: Child,
    channel: Channel,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    fn start(program: &Path) -> Result<Self, FetchError> {
        let failed = |source| FetchError::Start { program: program.to_owned(), source };
        let (channel, theirs) = Channel::pair().map_err(failed)?;
        let kept = |name: &&str| Some((OsString::from(name), std::env::var_os(name)?));
        let mut child = Command::new(program)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(kept))
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            // Not the terminal itself: a child in an image's hands could type into it.
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || drain(pipe)));
        Ok(Self { child, channel, stderr })
    }

    /// How a child ended that had nothing to say.
    fn end(&mut self) -> Untrusted {
        // With the socket broken it has no more to do; one that stays all the same is ended.
        let _ = self.channel.shut();
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let status = self.child.wait();
        let said = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let how = match status {
            Ok(status) => describe(status),
            Err(error) => format!("is lost: {error}"),
        };
        match said.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("{how}: {line}").into(),
            None => how.into(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both only fail when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(libc::SIGSYS) => {
            "was killed by its sandbox: it made a system call that it has no need for; the image \
             may be hostile"
                .to_owned()
        }
        Some(libc::SIGKILL) => "was killed; is memory short?".to_owned(),
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("left with {status} and without a result"),
    }
}

/// Logs what the child writes, and keeps the end of it.
fn drain(mut pipe: impl io::Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        for line in String::from_utf8_lossy(&buffer[..count]).lines() {
            tracing::debug!(target: "image::fetch_child", "{}", Untrusted::from(line));
        }
        kept.extend_from_slice(&buffer[..count]);
        let excess = kept.len().saturating_sub(MAX_STDERR);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What the child says, its lines as one.
fn one_line(text: &str) -> Untrusted {
    text.trim_end().replace('\n', "; ").into()
}

/// The uid of the user made for this, where the admin made one.
fn user_id() -> u32 {
    let mut passwd = String::new();
    let read = File::open("/etc/passwd").and_then(|mut file| file.read_to_string(&mut passwd));
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(USER)).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    read.ok().and_then(|_| passwd.lines().find_map(of_line)).unwrap_or(DEFAULT_UID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_layout_gives_out_its_own_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let (blob, link) = (Digest::of(b"blob").hex(), Digest::of(b"link").hex());
        std::fs::write(blobs.join(&blob), "blob").unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        symlink("/etc/passwd", blobs.join(&link)).unwrap();
        let opened = Opened::of(&Source::OciLayout { folder: folder.path().into(), tag: None });
        let opened = opened.unwrap();
        assert!(opened.open(&format!("blobs/sha256/{blob}")).is_ok());
        for bad in ["secret", "blobs/sha256/..", "/etc/passwd", "blobs", "index.json/../secret"] {
            assert!(opened.open(bad).is_err(), "{bad}");
        }
        assert!(opened.open(&format!("blobs/sha256/{link}")).is_err(), "followed a link");
    }

    #[test]
    fn only_a_docker_archive_names_its_own_images() {
        let pinned = format!("nginx@{}", Digest::of(b"another image"));
        let told = ["nginx".to_owned(), "not a name".to_owned(), pinned];
        let archive: Source = "docker-archive:/a.tar".parse().unwrap();
        assert_eq!(
            names_for(&archive, &told),
            ["docker.io/library/nginx:latest", "docker-archive:/a.tar"]
        );
        let registry: Source = "example.org/app".parse().unwrap();
        assert_eq!(names_for(&registry, &told), ["example.org/app:latest"]);
    }

    #[test]
    fn a_child_tells_of_its_own_work_only() {
        assert_eq!(believable(Event::Resolving { name: "\x1b[2J".to_owned() }), None);
        assert_eq!(believable(Event::Present { digest: Digest::of(b"") }), None);
        let many = believable(Event::Layers { bytes: vec![1; 100_000] });
        assert!(matches!(many, Some(Event::Layers { bytes }) if bytes.len() == MAX_LAYERS));
        assert_eq!(believable(Event::Finishing), Some(Event::Finishing));
    }

    #[test]
    fn what_the_child_says_cannot_drive_the_terminal() {
        let message = one_line("a\x1b[2Jb\nc\n");
        let error = FetchError::Failed { kind: FailureKind::Other, message };
        assert_eq!(error.to_string(), "a\u{fffd}[2Jb; c");
        assert!(one_line(&"x".repeat(9999)).to_string().len() < 2000);
    }
}
