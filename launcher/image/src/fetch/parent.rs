//! The launcher's side: starts the child, answers it, and checks what it says.

use super::{
    channel::Channel,
    claim::Claim,
    error::FetchError,
    messages::{Answer, Done, Input, Order, Request},
    opened::Opened,
    running::{Running, one_line},
    scratch::make_scratch,
    watch::{Stop, Watch},
};
use crate::{
    certificates,
    config::Config,
    credentials,
    digest::Digest,
    failure::{FailureKind, plain},
    progress::{Event, Progress},
    reference::Reference,
    settings::Settings,
    source::Source,
};
use contract::Untrusted;
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

/// The uid that fetches if the user [`USER`] does not exist.
const DEFAULT_UID: u32 = 64321;
const USER: &str = "_launch";
const MAX_NAMES: usize = 64;

/// What to do once the image's digest is known.
pub(crate) enum Decision {
    /// Convert into this file.
    Write(File),
    /// It is there already.
    Stop,
}

/// What became of it.
pub(crate) struct Fetched {
    /// Full names that an archive gives its image, none with a digest: only a registry's answer
    /// was ever compared with that.
    pub(crate) archived_names: Vec<String>,
    /// `None` after [`Decision::Stop`].
    pub(crate) image: Option<FetchedImage>,
}

/// An image whose disk is written. The child has ended, so only the launcher has the disk open.
pub(crate) struct FetchedImage {
    /// `None`: the image has no documents, so its digest is that of its disk.
    pub(crate) digest: Option<Digest>,
    pub(crate) config: Config,
    pub(crate) disk_bytes: u64,
}

/// Asked once, when the digest is known or is known to be unknown until the end.
type Decide<'a, E> = &'a mut dyn FnMut(Option<Digest>, &mut dyn Progress) -> Result<Decision, E>;

/// Why a fetch ended early.
enum Ended<E> {
    Fetch(FetchError),
    /// The caller's own error, when it was asked for a [`Decision`].
    Decision(E),
}

impl<E> From<FetchError> for Ended<E> {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

/// Fetches and converts `source` in a child without root; an archive that has to be unpacked first, in `scratch`.
///
/// # Errors
/// Those of `decide`, and [`FetchError`] for everything else.
pub(crate) fn fetch<E: From<FetchError>>(
    source: &Source,
    settings: &Settings,
    scratch: &Path,
    progress: &mut dyn Progress,
    decide: Decide<'_, E>,
) -> Result<Fetched, E> {
    let name = source.to_string();
    let opened = Opened::of(source)?;
    let (logins, certificates) = match source {
        Source::Registry(reference) => {
            let certificates = certificates::find(reference, settings).map_err(|error| {
                let message = error.to_string().into();
                FetchError::Failed { kind: FailureKind::Other, message }
            })?;
            (credentials::find(reference, settings), certificates)
        }
        _ => Default::default(),
    };
    let request = Request {
        name: name.clone(),
        input: input(source),
        settings: settings.clone(),
        credentials: logins.credentials,
        certificates,
        uid: settings.fetch_uid.unwrap_or_else(user_id),
    };
    progress.event(&Event::Resolving { name: name.clone() });
    let mut running = Running::start(&settings.fetcher)?;
    let archive = opened.archive.as_ref().map(|file| file.as_fd());
    let sent = running.channel.send(&Order::Fetch(Box::new(request)), archive);
    let watch = Watch::new(&name, &settings.limits);
    let other = running.channel.try_clone().map_err(broken)?;
    let answered = std::thread::scope(|scope| {
        let _stop = Stop(&watch);
        // Whatever the launcher waits for ends with the socket.
        scope.spawn(|| watch.run(|| drop(other.shut())));
        sent.map_err(broken).map_err(Ended::Fetch)?;
        let conversation =
            Conversation { source, settings, name: &name, opened: &opened, scratch, watch: &watch };
        conversation.hold(&mut running.channel, progress, decide)
    });
    if !matches!(&answered, Err(Ended::Fetch(FetchError::Failed { kind: FailureKind::Denied, .. })))
    {
        for problem in &logins.problems {
            progress.event(&Event::LoginProblem { problem: problem.as_str().into() });
        }
    }
    match (answered, watch.failed()) {
        (Ok(Some(fetched)), _) => Ok(fetched),
        (
            Err(Ended::Fetch(FetchError::Failed { kind: kind @ FailureKind::Denied, message })),
            None,
        ) => {
            Err(FetchError::Failed { kind, message: with_problems(&message, &logins.problems) }
                .into())
        }
        (_, Some(failed)) => Err(failed.into()),
        // It ended without a result; its exit status says more than a broken socket.
        (Ok(None) | Err(Ended::Fetch(FetchError::Child { .. })), None) => {
            Err(running.end(&name, &settings.limits).into())
        }
        (Err(Ended::Fetch(error)), None) => Err(error.into()),
        (Err(Ended::Decision(error)), None) => Err(error),
    }
}

/// What the child's answers are held against.
struct Conversation<'a> {
    source: &'a Source,
    settings: &'a Settings,
    name: &'a str,
    opened: &'a Opened,
    scratch: &'a Path,
    watch: &'a Watch<'a>,
}

impl Conversation<'_> {
    /// Answers the child until it has a result; `None`: it left without one.
    fn hold<E>(
        &self,
        channel: &mut Channel,
        progress: &mut dyn Progress,
        decide: Decide<'_, E>,
    ) -> Result<Option<Fetched>, Ended<E>> {
        let mut resolved: Option<(Claim, Vec<String>)> = None;
        let mut scratched = false;
        while let Some((answer, _)) = channel.receive::<Answer>().map_err(broken)? {
            match answer {
                Answer::Event(event) => {
                    if let Some(event) = believable(event, self.settings.limits.max_layers) {
                        progress.event(&event);
                    }
                }
                Answer::Open { path } => send_file(channel, self.opened.open(&path))?,
                Answer::Scratch => {
                    let scratch = match std::mem::replace(&mut scratched, true) {
                        true => return Err(self.lie("it wants a second file").into()),
                        false => make_scratch(self.scratch),
                    };
                    // It is on the disk's own file system, and takes its space as well.
                    if let Ok(Ok(file)) = scratch.as_ref().map(OwnedFd::try_clone) {
                        self.watch.disk(file.into());
                    }
                    send_file(channel, scratch)?;
                }
                Answer::Resolved(_) if resolved.is_some() => {
                    return Err(self.lie("it changed its mind about the image").into());
                }
                Answer::Resolved(told) => {
                    let claim =
                        Claim::check(told.identity, self.source).map_err(|what| self.lie(&what))?;
                    let names = self.archived_names(&told.names);
                    let decision = self.watch.uncounted(|| decide(claim.digest(), progress));
                    let decision = decision.map_err(Ended::Decision)?;
                    match decision {
                        Decision::Write(disk) => {
                            channel.send(&Order::Write, Some(disk.as_fd())).map_err(broken)?;
                            self.watch.disk(disk);
                        }
                        Decision::Stop => {
                            channel.send(&Order::Stop, None).map_err(broken)?;
                            return Ok(Some(Fetched { archived_names: names, image: None }));
                        }
                    }
                    resolved = Some((claim, names));
                }
                Answer::Done(done) => {
                    let Some((claim, archived_names)) = resolved else {
                        return Err(self.lie("it skipped a step").into());
                    };
                    let image = self.finish(claim, *done)?;
                    return Ok(Some(Fetched { archived_names, image: Some(image) }));
                }
                Answer::Failed { kind, message } => {
                    return Err(FetchError::Failed { kind, message: one_line(&message) }.into());
                }
            }
        }
        Ok(None)
    }

    fn finish(&self, claim: Claim, done: Done) -> Result<FetchedImage, FetchError> {
        let digest = claim.digest();
        let config = claim.config(done.config, self.name).map_err(|what| self.lie(&what))?;
        Ok(FetchedImage { digest, config, disk_bytes: done.disk_bytes })
    }

    fn archived_names(&self, told: &[String]) -> Vec<String> {
        let Source::DockerArchive { .. } = self.source else { return Vec::new() };
        let told = told.iter().take(MAX_NAMES).filter_map(|name| name.parse::<Reference>().ok());
        let tags = told.filter(|name| name.digest().is_none());
        tags.map(|name| name.to_string()).collect()
    }

    fn lie(&self, what: &str) -> FetchError {
        FetchError::Untrue { name: self.name.to_owned(), what: one_line(what) }
    }
}

fn send_file(channel: &mut Channel, file: io::Result<OwnedFd>) -> Result<(), FetchError> {
    let sent = match file {
        Ok(file) => channel.send(&Order::File, Some(file.as_fd())),
        Err(error) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            channel.send(&Order::NoFile { missing, cause: plain(&error) }, None)
        }
    };
    sent.map_err(broken)
}

/// A refusal, with what kept logins from being found.
fn with_problems(message: &Untrusted, problems: &[String]) -> Untrusted {
    let parts = std::iter::once(message.raw()).chain(problems.iter().map(String::as_str));
    one_line(&parts.collect::<Vec<_>>().join("; "))
}

fn broken(source: io::Error) -> FetchError {
    FetchError::Child { action: "talk to the child that fetches", source }
}

/// What of an event may reach a terminal.
fn believable(event: Event, max_layers: u32) -> Option<Event> {
    match event {
        Event::Unsandboxed { .. } => Some(event),
        Event::Layers { mut bytes } => {
            bytes.truncate(usize::try_from(max_layers).unwrap_or(usize::MAX));
            Some(Event::Layers { bytes })
        }
        Event::Layer { .. } | Event::Finishing | Event::Retry { .. } => Some(event),
        // These are the launcher's own to tell.
        Event::Resolving { .. }
        | Event::Waiting { .. }
        | Event::Present { .. }
        | Event::LoginProblem { .. }
        | Event::Named { .. } => None,
    }
}

fn input(source: &Source) -> Input {
    match source {
        Source::Registry(reference) => Input::Registry(reference.clone()),
        Source::DockerArchive { image, .. } => Input::DockerArchive { image: image.clone() },
        Source::OciArchive { tag, .. } => Input::OciArchive { tag: tag.clone() },
        Source::OciLayout { tag, .. } => Input::OciLayout { tag: tag.clone() },
        Source::Dir(_) => Input::Dir,
        Source::Rootfs(_) => Input::Rootfs,
    }
}

/// The uid of the user made for this, if the administrator made one.
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

    #[test]
    fn only_a_docker_archive_names_its_own_images_and_never_by_digest() {
        let pinned = format!("nginx@{}", Digest::of(b"another image"));
        let told = ["nginx".to_owned(), "not a name".to_owned(), pinned];
        let names = |source: &str| {
            let (source, settings) = (source.parse().unwrap(), Settings::default());
            let (opened, watch) = (Opened::default(), Watch::new("x", &settings.limits));
            let (source, settings, opened, watch) = (&source, &settings, &opened, &watch);
            Conversation { source, settings, name: "x", opened, scratch: Path::new("/"), watch }
                .archived_names(&told)
        };
        assert_eq!(names("docker-archive:/a.tar"), ["docker.io/library/nginx:latest"]);
        assert_eq!(names("example.org/app"), [""; 0]);
    }

    #[test]
    fn a_child_tells_of_its_own_work_only() {
        assert_eq!(believable(Event::Resolving { name: "\x1b[2J".to_owned() }, 9), None);
        assert_eq!(believable(Event::Present { digest: Digest::of(b"") }, 9), None);
        let many = believable(Event::Layers { bytes: vec![1; 100_000] }, 9);
        assert!(matches!(many, Some(Event::Layers { bytes }) if bytes.len() == 9));
        assert_eq!(believable(Event::Finishing, 9), Some(Event::Finishing));
    }
}
