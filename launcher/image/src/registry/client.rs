//! The HTTP client for one endpoint: single requests with time-outs, bounded bodies, and patience.

use super::{
    addresses::Guard,
    endpoint::Endpoint,
    error::RegistryError,
    proxy::Proxies,
    said,
    tls::Tls,
    tunnel::Tunnel,
    url::{Origin, Url},
};
use crate::{
    certificates::{Certificates, HostCertificates},
    credentials::Credentials,
    progress::Event,
    settings::Settings,
};
use contract::Untrusted;
use std::{
    collections::BTreeMap,
    io::Read as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use ureq::{
    Agent, Body,
    http::{Response, header},
    unversioned::transport::{Connector as _, TcpConnector},
};

/// What is read of an answer that is an error.
const MAX_SAID_BYTES: u64 = 16 << 10;

pub(super) type Answer = Response<Body>;
pub(super) type Notify = Arc<dyn Fn(Event) + Send + Sync>;

/// One request.
#[derive(Default)]
pub(super) struct Question<'a> {
    pub(super) accept: Option<&'a str>,
    /// The byte to start from.
    pub(super) from: u64,
    pub(super) authorization: Option<&'a str>,
    /// What is posted; otherwise it is a GET.
    pub(super) form: Option<&'a [(&'a str, &'a str)]>,
}

pub(super) struct Client {
    endpoint: Endpoint,
    /// The endpoint turned out to speak TLS, though it need not.
    speaks_tls: AtomicBool,
    /// It has answered, so that is settled.
    settled: AtomicBool,
    agent: Agent,
    proxies: Arc<Proxies>,
    retries: u32,
    first_delay: Duration,
    account: Option<Credentials>,
    /// `Authorization` values that worked, by who asked for them and scope.
    authorizations: Mutex<BTreeMap<(Origin, String), String>>,
    notify: Notify,
}

impl Client {
    pub(super) fn new(
        endpoint: Endpoint,
        settings: &Settings,
        guard: Guard,
        account: Option<Credentials>,
        certificates: &Certificates,
        notify: Notify,
    ) -> Result<Self, RegistryError> {
        let connect = Duration::from_secs(settings.connect_timeout_s);
        let idle = Duration::from_secs(settings.idle_timeout_s);
        let config = Agent::config_builder()
            .user_agent(concat!("launch/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // Whom a login goes to is decided here, hop by hop.
            .max_redirects(0)
            .proxy(None)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(idle))
            // Not for the whole body: a large layer takes as long as it takes.
            .timeout_per_read(Some(idle))
            .timeout_per_write(Some(idle))
            .build();
        let none = HostCertificates::default();
        let own = certificates.hosts.get(&endpoint.account).unwrap_or(&none);
        let tls = Tls::new(endpoint.host_name(), !endpoint.may_speak_tls, certificates, own)?;
        let proxies = Arc::clone(&guard.proxies);
        let tunnel = Tunnel { proxies: Arc::clone(&proxies), tls: Arc::clone(&tls.others) };
        let connector = ().chain(TcpConnector::default()).chain(tunnel).chain(tls);
        Ok(Self {
            endpoint,
            speaks_tls: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            agent: Agent::with_parts(config, connector, guard),
            proxies,
            retries: settings.retries,
            first_delay: Duration::from_millis(settings.first_retry_ms),
            account,
            authorizations: Mutex::default(),
            notify,
        })
    }

    pub(super) fn account(&self) -> Option<&Credentials> {
        self.account.as_ref()
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    pub(super) fn retries(&self) -> u32 {
        self.retries
    }

    /// Whether nothing may be sent or fetched in the clear.
    pub(super) fn https(&self) -> bool {
        self.endpoint.https || self.speaks_tls.load(Ordering::Relaxed)
    }

    /// The URL of the endpoint's part at `path`.
    pub(super) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let url = format!("{}{path}", self.endpoint.start(self.https()));
        Url::parse(url.as_bytes()).ok_or(RegistryError::Url { url })
    }

    /// Who answers at `url`, for messages.
    pub(super) fn place(&self, url: &Url) -> String {
        let place = self.host(url);
        match self.proxies.on_the_way_to(url.uri()) {
            Some(proxy) => format!("{place} through {}", proxy.name()),
            None => place,
        }
    }

    /// The same without the proxy on the way.
    pub(super) fn host(&self, url: &Url) -> String {
        let registry = format!("registry {}", self.endpoint.start(self.https()));
        match self.is_endpoint(url) {
            true => registry,
            false => format!("{} (to which {registry} leads)", url.origin()),
        }
    }

    /// Whether `url` is the endpoint itself, not where it leads.
    pub(super) fn is_endpoint(&self, url: &Url) -> bool {
        self.url("").is_ok_and(|own| url.origin().stands_for(&own.origin()))
    }

    /// From now on the endpoint is asked over TLS, or over plain HTTP again.
    pub(super) fn speak_tls(&self, tls: bool) {
        self.speaks_tls.store(tls, Ordering::Relaxed);
    }

    /// Whether the endpoint may speak TLS instead, by all that is known.
    pub(super) fn may_speak_tls(&self) -> bool {
        self.endpoint.may_speak_tls && !self.settled.load(Ordering::Relaxed)
    }

    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Doubles with each try.
    pub(super) fn back_off(&self, tries: u32) -> Duration {
        self.first_delay.saturating_mul(1 << tries.min(5))
    }

    pub(super) fn wait(&self, cause: &str, delay: Duration) {
        self.tell(format!("{cause}; trying again in {:.1} s", delay.as_secs_f32()));
        std::thread::sleep(delay);
    }

    /// Tells that something is tried again.
    pub(super) fn tell(&self, reason: String) {
        let reason = Untrusted::from(reason);
        tracing::info!("{reason}");
        (self.notify)(Event::Retry { reason });
    }

    pub(super) fn send(&self, url: &Url, question: &Question<'_>) -> Result<Answer, ureq::Error> {
        if let Some(form) = question.form {
            return self.agent.post(url.uri()).send_form(form.iter().copied());
        }
        let mut request = self.agent.get(url.uri());
        if let Some(accept) = question.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if question.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", question.from));
        }
        let of_url = url.login();
        if let Some(authorization) = question.authorization.or(of_url.as_deref()) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.call()
    }

    /// A body of at most `allowed` bytes.
    pub(super) fn read_body(
        &self,
        at: String,
        answer: Answer,
        allowed: u64,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
        match reader.take(allowed + 1).read_to_end(&mut body) {
            Err(error) => Err(RegistryError::Unreachable {
                at,
                cause: format!("{what} breaks off ({})", crate::failure::plain(&error)),
                next: "try again".to_owned(),
            }),
            Ok(_) if body.len() as u64 > allowed => {
                Err(RegistryError::Long { at, what: what.to_owned(), allowed })
            }
            Ok(_) => Ok(body),
        }
    }

    pub(super) fn authorizations(&self) -> MutexGuard<'_, BTreeMap<(Origin, String), String>> {
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words of an answer that is an error; nothing if it has none.
pub(super) fn said(answer: Answer) -> String {
    let mut body = Vec::new();
    let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
    // A body that breaks off says nothing.
    let _ = reader.take(MAX_SAID_BYTES).read_to_end(&mut body);
    said::in_words(&body)
}

/// The words of an answer, or else its status.
pub(super) fn said_or_status(answer: Answer) -> String {
    let status = answer.status().to_string();
    Some(said(answer)).filter(|said| !said.is_empty()).unwrap_or(status)
}
