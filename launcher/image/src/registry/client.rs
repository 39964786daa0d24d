//! The HTTP client: one request with authentication, retries, time-outs and bounded bodies.

use super::{
    addresses::{Guard, LedInside},
    endpoint::{Endpoint, is_loopback},
    error::RegistryError,
};
use crate::{credentials::Credentials, progress::Event, settings::Settings};
use contract::Untrusted;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use ureq::{
    Agent, Body,
    http::{Response, header},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
    unversioned::transport::DefaultConnector,
};

/// What is read of an answer that is an error.
const MAX_SAID_BYTES: u64 = 16 << 10;
/// The longest delay a registry may ask for; a registry that asks for more counts as unreachable.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Where systems keep the certificates they trust.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

pub(super) type Answer = Response<Body>;

pub(super) struct Client {
    agent: Agent,
    retries: u32,
    first_delay: Duration,
    credentials: BTreeMap<String, Credentials>,
    /// `Authorization` values that worked, by endpoint and scope.
    authorizations: Mutex<BTreeMap<(String, String), String>>,
    notify: Arc<dyn Fn(Event) + Send + Sync>,
}

/// Why a try failed, when another may not.
pub(super) struct Obstacle {
    cause: String,
    delay: Option<Duration>,
    /// How many more attempts may follow.
    retries: u32,
    next: &'static str,
}

impl Client {
    pub(super) fn new(
        settings: &Settings,
        guard: Guard,
        credentials: BTreeMap<String, Credentials>,
        notify: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Self, RegistryError> {
        let connect = Duration::from_secs(settings.connect_timeout_s);
        let idle = Duration::from_secs(settings.idle_timeout_s);
        let config = Agent::config_builder()
            .user_agent(concat!("launch/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(5)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(idle))
            // Not for the whole body: a large layer takes as long as it takes.
            .timeout_per_read(Some(idle))
            .timeout_per_write(Some(idle))
            .tls_config(TlsConfig::builder().root_certs(certificates(settings)?).build())
            .build();
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), guard),
            retries: settings.retries,
            first_delay: Duration::from_millis(settings.first_retry_ms),
            credentials,
            authorizations: Mutex::default(),
            notify,
        })
    }

    pub(super) fn credentials(&self, endpoint: &Endpoint) -> Option<&Credentials> {
        self.credentials.get(&endpoint.account)
    }

    pub(super) fn retries(&self) -> u32 {
        self.retries
    }

    /// Waits before the next attempt, or fails if there is none.
    pub(super) fn back_off_or_fail(
        &self,
        endpoint: &Endpoint,
        tries: &mut u32,
        obstacle: Obstacle,
    ) -> Result<(), RegistryError> {
        let delay = obstacle.delay.unwrap_or_else(|| self.back_off(*tries));
        if *tries >= obstacle.retries.min(self.retries) || delay > MAX_DELAY {
            let (at, cause, next) = (endpoint.to_string(), obstacle.cause, obstacle.next);
            return Err(RegistryError::Unreachable { at, cause, next });
        }
        *tries += 1;
        self.wait(&format!("{endpoint}: {}", obstacle.cause), delay);
        Ok(())
    }

    /// Doubles with each try.
    pub(super) fn back_off(&self, tries: u32) -> Duration {
        self.first_delay.saturating_mul(1 << tries.min(5))
    }

    pub(super) fn wait(&self, cause: &str, delay: Duration) {
        let reason = format!("{cause}; trying again in {:.1} s", delay.as_secs_f32());
        let reason = Untrusted::from(reason);
        tracing::info!("{reason}");
        (self.notify)(Event::Retry { reason });
        std::thread::sleep(delay);
    }

    pub(super) fn send(
        &self,
        endpoint: &Endpoint,
        url: &str,
        accept: &str,
        from: u64,
        authorization: Option<&str>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.get(url).header(header::ACCEPT, accept);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let mut config = request.config().https_only(endpoint.https);
        if endpoint.loopback {
            config = config.proxy(None);
        }
        config.build().call()
    }

    /// Asks a token server, with the same patience.
    pub(super) fn send_token_request(
        &self,
        realm: &str,
        query: &[(&str, &str)],
        post: bool,
        authorization: Option<&str>,
        endpoint: &Endpoint,
    ) -> Result<Answer, RegistryError> {
        let host = realm.split_once("://").map_or(realm, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        let mut tries = 0;
        loop {
            let secure = endpoint.https;
            let sent = if post {
                let mut request = self.agent.post(realm).config().https_only(secure);
                if is_loopback(host) {
                    request = request.proxy(None);
                }
                request.build().send_form(query.iter().copied())
            } else {
                let mut request = self.agent.get(realm).query_pairs(query.iter().copied());
                if let Some(authorization) = authorization {
                    request = request.header(header::AUTHORIZATION, authorization);
                }
                let mut request = request.config().https_only(secure);
                if is_loopback(host) {
                    request = request.proxy(None);
                }
                request.build().call()
            };
            let obstacle = match sent {
                Err(error) => self.obstacle(&error),
                Ok(answer) => match answer.status().as_u16() {
                    408 | 425 | 429 | 500..=599 => self.busy(answer),
                    _ => return Ok(answer),
                },
            };
            self.back_off_or_fail(endpoint, &mut tries, obstacle)?;
        }
    }

    /// A body of at most `allowed` bytes.
    pub(super) fn read_body(
        &self,
        endpoint: &Endpoint,
        answer: Answer,
        allowed: u64,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
        match reader.take(allowed + 1).read_to_end(&mut body) {
            Err(error) => Err(RegistryError::Unreachable {
                at: endpoint.to_string(),
                cause: format!("{what} breaks off ({})", crate::failure::plain(&error)),
                next: "try again",
            }),
            Ok(_) if body.len() as u64 > allowed => Err(RegistryError::Long {
                at: endpoint.to_string(),
                what: what.to_owned(),
                allowed,
            }),
            Ok(_) => Ok(body),
        }
    }

    /// The registry's message about an error, in one line.
    pub(super) fn said(&self, answer: Answer) -> String {
        #[derive(serde::Deserialize)]
        struct Errors {
            errors: Vec<One>,
        }
        #[derive(serde::Deserialize)]
        struct One {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let status = answer.status().to_string();
        let mut body = Vec::new();
        let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
        // A body that breaks off says nothing.
        let _ = reader.take(MAX_SAID_BYTES).read_to_end(&mut body);
        let said = match serde_json::from_slice::<Errors>(&body) {
            Ok(Errors { errors }) => errors.into_iter().next().map(|one| match one.message {
                message if message.is_empty() => one.code,
                message => message,
            }),
            Err(_) => None,
        };
        said.filter(|said| !said.is_empty()).unwrap_or(status).chars().take(200).collect()
    }

    pub(super) fn refused(
        &self,
        endpoint: &Endpoint,
        image: &str,
        answer: Answer,
    ) -> RegistryError {
        let (image, at, said) = (image.to_owned(), endpoint.to_string(), self.said(answer));
        match self.credentials(endpoint) {
            Some(_) => RegistryError::Credentials { image, at, said },
            None => RegistryError::Denied { image, at, said },
        }
    }

    pub(super) fn busy(&self, answer: Answer) -> Obstacle {
        let after = answer.headers().get(header::RETRY_AFTER);
        let delay = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let cause = match answer.status().as_u16() {
            429 => "it says there are too many requests".to_owned(),
            status => format!("it answers {status}"),
        };
        let delay = delay.map(Duration::from_secs);
        Obstacle { cause, delay, retries: u32::MAX, next: "try again later" }
    }

    pub(super) fn obstacle(&self, error: &ureq::Error) -> Obstacle {
        let (retries, next) = match error {
            error if is_unknown_host(error) => (1, "check the name, the network and DNS"),
            ureq::Error::ConnectionFailed => (1, "check the network and the registry"),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                (1, "check that it runs")
            }
            ureq::Error::Other(error) if error.is::<LedInside>() => {
                (0, "it does not work as a registry")
            }
            ureq::Error::RequireHttpsOnly(_) => (0, "it leads to plain HTTP, which is refused"),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TooManyRedirects => {
                (0, "it does not work as a registry")
            }
            error if error.to_string().contains("InvalidContentType") => {
                (0, "if it speaks plain HTTP, list it in plain_http under [image] in the settings")
            }
            error if error.to_string().contains("certificate") => {
                (0, "name its authority's file as certificates under [image] in the settings")
            }
            _ => (u32::MAX, "check the network and the registry"),
        };
        Obstacle { cause: describe(error), delay: None, retries, next }
    }

    pub(super) fn authorizations(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// ureq passes on what the resolver says in words.
fn is_unknown_host(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        ureq::Error::Io(error) => error.to_string().starts_with("failed to lookup address"),
        _ => false,
    }
}

/// An error of ureq in this program's style.
fn describe(error: &ureq::Error) -> String {
    match error {
        error if is_unknown_host(error) => "its host name is not known".to_owned(),
        ureq::Error::Io(error) => crate::failure::plain(error),
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        error => error.to_string(),
    }
}

/// The certificates to trust: an admin's file, the system's (which has a company's own
/// authorities), or else Mozilla's.
fn certificates(settings: &Settings) -> Result<RootCerts, RegistryError> {
    let named = settings.certificates.clone();
    let named = named.or_else(|| std::env::var_os("SSL_CERT_FILE").map(Into::into));
    let system = || BUNDLES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
    let Some(path) = named.or_else(system) else { return Ok(RootCerts::WebPki) };
    let error =
        |cause: String| RegistryError::Certificates { path: path.display().to_string(), cause };
    let pem = fs::read(&path).map_err(|source| error(crate::failure::plain(&source)))?;
    let mut all = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => all.push(certificate),
            Ok(_) => {}
            Err(source) => return Err(error(source.to_string())),
        }
    }
    if all.is_empty() {
        return Err(error("it contains none".to_owned()));
    }
    Ok(RootCerts::from(all))
}
