//! Registries that behave and registries that do not, on a loopback port of this test.

mod fronts;
mod parts;
mod proxies;
mod redirects;
mod server;
mod tls;

use super::*;
use crate::{
    failure::{Failure, FailureKind},
    fetch::{Request, run},
    host::{Host, Identity, Resolved},
    progress::Event,
};
use server::{Answer, Registry, answer};
use std::{fs::File, io, sync::Mutex};

/// Stands for the launcher; keeps what it was told.
#[derive(Default)]
struct Listener {
    events: Mutex<Vec<Event>>,
    manifest: Mutex<Option<Digest>>,
}

impl Host for Listener {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn open(&self, _: &str) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn scratch(&self) -> io::Result<File> {
        tempfile::tempfile()
    }
    fn resolved(&self, resolved: Resolved) -> io::Result<Option<File>> {
        if let Identity::Manifests(documents) = resolved.identity {
            *self.manifest.lock().unwrap() =
                documents.last().map(|json| Digest::of(json.as_bytes()));
        }
        tempfile::tempfile().map(Some)
    }
}

fn settings() -> Settings {
    Settings { first_retry_ms: 1, retries: 3, ..Settings::default() }
}

/// Pulls `app:1` as the child does, but within this process.
fn pull(registry: &Registry) -> Result<(Digest, Vec<Event>), Failure> {
    pull_with(&format!("{}/app:1", registry.host()), settings(), BTreeMap::new())
}

fn pull_with(
    name: &str,
    settings: Settings,
    credentials: BTreeMap<String, Credentials>,
) -> Result<(Digest, Vec<Event>), Failure> {
    pull_trusting(name, settings, credentials, Certificates::default())
}

fn pull_trusting(
    name: &str,
    settings: Settings,
    credentials: BTreeMap<String, Credentials>,
    certificates: Certificates,
) -> Result<(Digest, Vec<Event>), Failure> {
    let request = Request {
        name: name.to_owned(),
        input: crate::fetch::Input::Registry(name.parse().unwrap()),
        settings,
        credentials,
        certificates,
        uid: 0,
    };
    let listener = Arc::new(Listener::default());
    let host: Arc<dyn Host> = Arc::<Listener>::clone(&listener);
    run(request, None, &host)?.unwrap();
    let events = std::mem::take(&mut *listener.events.lock().unwrap());
    let digest = listener.manifest.lock().unwrap().unwrap();
    Ok((digest, events))
}

fn kind_and_message(result: Result<(Digest, Vec<Event>), Failure>) -> (FailureKind, String) {
    let failure = result.map(|(digest, _)| digest).unwrap_err();
    assert!(!failure.message.contains('\n'), "{failure}");
    (failure.kind, failure.message)
}

fn retries(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Retry { .. })).count()
}

#[test]
fn an_image_is_pulled_without_any_credentials() {
    let registry = Registry::with_image();
    let (digest, events) = pull(&registry).unwrap();
    assert_eq!(digest, registry.manifest_digest());
    assert_eq!(retries(&events), 0);
    assert!(events.contains(&Event::Finishing));
}

#[test]
fn a_token_is_fetched_with_the_password_and_sent_to_nobody_else() {
    let mut registry = Registry::with_image();
    let elsewhere = Registry::with_image();
    let redirect = elsewhere.host();
    registry.require_token("sesame");
    registry.on("blobs", move |request, _| {
        let location = format!("http://{redirect}{}", request.path);
        Some(answer(307, &[("location", &location)], b""))
    });
    let account = Credentials::Password { user: "u".into(), password: "p".into() };
    let name = format!("{}/app:1", registry.host());
    pull_with(&name, settings(), [(registry.host(), account)].into()).unwrap();
    let asked = registry.requests();
    let token = asked.iter().find(|request| request.path.starts_with("/token")).unwrap();
    assert_eq!(token.header("authorization"), Some("Basic dTpw"));
    assert!(token.path.contains("scope=repository%3Aapp%3Apull"), "{}", token.path);
    assert!(token.path.contains("service=test"), "{}", token.path);
    let manifest = asked.iter().rfind(|request| request.path.contains("/manifests/")).unwrap();
    assert_eq!(manifest.header("authorization"), Some("Bearer sesame"));
    assert!(!elsewhere.requests().is_empty());
    for request in elsewhere.requests() {
        assert_eq!(request.header("authorization"), None, "{}", request.path);
    }
}

#[test]
fn a_password_is_sent_where_basic_is_asked_for_and_only_then() {
    let mut registry = Registry::with_image();
    registry.on("", |request, _| {
        let welcome = request.header("authorization") == Some("Basic dTpw");
        (!welcome).then(|| answer(401, &[("www-authenticate", "Basic realm=\"x\"")], b""))
    });
    let account = Credentials::Password { user: "u".into(), password: "p".into() };
    let name = format!("{}/app:1", registry.host());
    pull_with(&name, settings(), [(registry.host(), account)].into()).unwrap();
    assert_eq!(registry.requests()[0].header("authorization"), None);
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Denied);
    assert!(message.contains("wants a login for"), "{message}");
}

#[test]
fn wrong_credentials_are_told_from_none() {
    let mut registry = Registry::with_image();
    registry.on("", |_, _| Some(answer(401, &[("www-authenticate", "Basic realm=x")], b"")));
    let account = Credentials::Password { user: "u".into(), password: "wrong".into() };
    let name = format!("{}/app:1", registry.host());
    let pulled = pull_with(&name, settings(), [(registry.host(), account)].into());
    let (kind, message) = kind_and_message(pulled);
    assert_eq!(kind, FailureKind::Denied);
    assert!(message.contains("does not take the credentials"), "{message}");
}

#[test]
fn an_unknown_image_is_named_with_its_registry() {
    let registry = Registry::with_image();
    let name = format!("{}/other:2", registry.host());
    let (kind, message) = kind_and_message(pull_with(&name, settings(), BTreeMap::new()));
    assert_eq!(kind, FailureKind::NotFound);
    assert_eq!(
        message,
        format!(
            "image not found: {name} at registry http://{}: MANIFEST_UNKNOWN; check its name and tag",
            registry.host()
        )
    );
}

#[test]
fn a_registry_that_is_down_is_said_to_be() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let name = format!("{closed}/app:1");
    let (kind, message) = kind_and_message(pull_with(&name, settings(), BTreeMap::new()));
    assert_eq!(kind, FailureKind::Unreachable);
    assert_eq!(
        message,
        format!(
            "registry http://{closed} cannot be reached: connection refused; check that it runs"
        )
    );
}

#[test]
fn a_busy_registry_is_asked_again_and_its_wish_to_wait_is_heard() {
    let mut registry = Registry::with_image();
    registry.on("manifests", |_, nth| match nth {
        0 => Some(answer(429, &[("retry-after", "1")], b"")),
        1 => Some(answer(503, &[], b"")),
        _ => None,
    });
    let start = std::time::Instant::now();
    let (_, events) = pull(&registry).unwrap();
    assert!(start.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(retries(&events), 2);
}

#[test]
fn a_registry_that_stays_busy_or_asks_for_an_hour_is_given_up() {
    for (headers, asked) in [(&[][..], 4), (&[("retry-after", "3600")][..], 1)] {
        let mut registry = Registry::with_image();
        registry.on("manifests", |_, _| Some(answer(500, headers, b"")));
        let (kind, message) = kind_and_message(pull(&registry));
        assert_eq!(kind, FailureKind::Unreachable);
        assert!(message.contains("it answers 500"), "{message}");
        assert_eq!(registry.requests().len(), asked);
    }
}

#[test]
fn a_broken_connection_goes_on_where_it_ended() {
    let mut registry = Registry::with_image();
    registry.on("blobs", |request, nth| {
        // The first answers for the layer end early, the next go on from there.
        let layer = request.blob.as_ref().filter(|blob| blob.len() > 4096)?;
        let start = request.range_start();
        let end = (start + 1000).min(layer.len());
        (nth < 4).then(|| Answer::cut_short(layer, start, end))
    });
    let (_, events) = pull(&registry).unwrap();
    let ranges: Vec<_> =
        registry.requests().iter().filter_map(|r| r.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges[..2], ["bytes=1000-", "bytes=2000-"], "{ranges:?}");
    assert!(retries(&events) >= 2);
}

#[test]
fn a_registry_that_cannot_resume_sends_the_layer_again() {
    let mut registry = Registry::with_image();
    registry.on("blobs", |request, _| {
        let layer = request.blob.as_ref().filter(|blob| blob.len() > 4096)?;
        match request.header("range") {
            None => Some(Answer::cut_short(layer, 0, 1000)),
            Some(_) => Some(answer(200, &[], layer)),
        }
    });
    pull(&registry).unwrap();
}

#[test]
fn a_connection_that_breaks_without_end_is_given_up() {
    let mut registry = Registry::with_image();
    registry.on("blobs", |request, _| {
        let layer = request.blob.as_ref().filter(|blob| blob.len() > 4096)?;
        let start = request.range_start();
        Some(Answer::cut_short(layer, start, (start + 10).min(layer.len())))
    });
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(message.contains("breaks again and again"), "{message}");
}

#[test]
fn a_registry_that_falls_silent_is_not_waited_for_without_end() {
    for (path, head) in [("manifests", false), ("manifests", true), ("blobs", true)] {
        let mut registry = Registry::with_image();
        registry.on(path, move |request, _| {
            let body = request.blob.clone().unwrap_or_default();
            Some(if head { Answer::stall(&body, body.len() / 2) } else { Answer::silence() })
        });
        let quick = Settings { retries: 1, idle_timeout_s: 1, ..settings() };
        let name = format!("{}/app:1", registry.host());
        let (kind, message) = kind_and_message(pull_with(&name, quick, BTreeMap::new()));
        assert_eq!(kind, FailureKind::Unreachable, "{message}");
    }
}

#[test]
fn a_slow_layer_may_take_longer_than_the_longest_silence() {
    let mut registry = Registry::with_image();
    registry.on("blobs", |request, _| {
        request.blob.as_ref().filter(|blob| blob.len() > 4096).map(|blob| Answer::drip(blob))
    });
    let quick = Settings { idle_timeout_s: 3, ..settings() };
    let name = format!("{}/app:1", registry.host());
    let (_, events) = pull_with(&name, quick, BTreeMap::new()).unwrap();
    assert_eq!(retries(&events), 0);
}

#[test]
fn changed_contents_are_told_by_their_digest() {
    let mut registry = Registry::with_image();
    registry.on("blobs", |request, _| {
        let mut blob = request.blob.clone().filter(|blob| blob.len() > 4096)?;
        *blob.last_mut().unwrap() ^= 1;
        Some(answer(200, &[], &blob))
    });
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Mismatch);
    assert!(message.starts_with("layer 1 of "), "{message}");
    assert!(message.contains(" has digest sha256:"), "{message}");
    let source = format!("; it came from registry http://{}", registry.host());
    assert!(message.ends_with(&source), "{message}");
}

#[test]
fn a_changed_manifest_or_config_is_told_by_its_digest() {
    let mut registry = Registry::with_image();
    let digest = registry.manifest_digest();
    registry.on("manifests", |request, _| {
        let mut manifest = request.blob.clone()?;
        manifest.push(b' ');
        Some(answer(200, &[], &manifest))
    });
    let name = format!("{}/app@{digest}", registry.host());
    let (kind, message) = kind_and_message(pull_with(&name, settings(), BTreeMap::new()));
    assert_eq!(kind, FailureKind::Mismatch);
    assert!(message.contains(&format!(", not {digest}")), "{message}");
}

#[test]
fn endless_and_overlong_bodies_are_cut_off() {
    let mut registry = Registry::with_image();
    registry.on("manifests", |_, _| Some(Answer::endless()));
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Mismatch);
    assert!(message.contains("is longer than 4194304 bytes"), "{message}");

    let mut registry = Registry::with_image();
    registry.on("blobs", |request, _| {
        request.blob.as_ref().filter(|blob| blob.len() > 4096).map(|_| Answer::endless())
    });
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Mismatch);
    assert!(message.contains("goes on after its") || message.contains("digest"), "{message}");
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_when_it_fails() {
    let mut down = Registry::with_image();
    down.on("", |_, _| Some(answer(404, &[], b"")));
    let mirror = Registry::with_image();
    let urls = [&down, &mirror].map(|registry| format!("http://{}", registry.host()));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let with =
        |urls: Vec<String>| Settings { mirrors: [(closed.to_string(), urls)].into(), ..settings() };
    let name = &format!("{closed}/app:1");
    let (digest, _) = pull_with(name, with(urls.to_vec()), BTreeMap::new()).unwrap();
    assert_eq!(digest, mirror.manifest_digest());
    assert!(!down.requests().is_empty());
    let result = pull_with(name, with(urls[..1].to_vec()), BTreeMap::new());
    let (kind, message) = kind_and_message(result);
    assert_eq!(kind, FailureKind::NotFound, "{message}");
    assert!(
        message.contains("connection refused; ") && message.contains(&down.host()),
        "{message}"
    );
}
