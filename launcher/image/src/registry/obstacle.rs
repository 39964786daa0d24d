//! Why a request failed, whether it may be tried again, and what a user can do.

use super::{
    addresses::{LedInside, UnusableProxy},
    client::{Answer, Client, said},
    error::RegistryError,
    said::after_colon,
    tls::TlsError,
    tunnel::ProxyError,
    url::Url,
};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::{io, time::Duration};
use ureq::{Timeout, http::header};

/// Why a try failed, when another may not.
#[derive(Debug)]
pub(super) struct Obstacle {
    cause: String,
    delay: Option<Duration>,
    /// How many more attempts may follow.
    retries: u32,
    next: String,
    /// The cause is a proxy, and is told as such.
    names_proxy: bool,
}

/// The longest delay a registry may ask for; a registry that asks for more counts as unreachable.
const MAX_DELAY: Duration = Duration::from_secs(60);
const SETTINGS: &str = "under [image] in /etc/launch/config.toml";

impl Obstacle {
    fn new(cause: impl Into<String>, retries: u32, next: impl Into<String>) -> Self {
        let (cause, next) = (cause.into(), next.into());
        Self { cause, delay: None, retries, next, names_proxy: false }
    }

    fn of_proxy(cause: impl Into<String>, retries: u32, next: impl Into<String>) -> Self {
        Self { names_proxy: true, ..Self::new(cause, retries, next) }
    }

    /// Waits before the next attempt, or fails if there is none.
    pub(super) fn wait_or_fail(
        self,
        client: &Client,
        url: &Url,
        tries: &mut u32,
    ) -> Result<(), RegistryError> {
        let delay = self.delay.unwrap_or_else(|| client.back_off(*tries));
        let at = if self.names_proxy { client.host(url) } else { client.place(url) };
        if *tries >= self.retries.min(client.retries()) || delay > MAX_DELAY {
            return Err(RegistryError::Unreachable { at, cause: self.cause, next: self.next });
        }
        *tries += 1;
        client.wait(&format!("{at}: {}", self.cause), delay);
        Ok(())
    }

    /// An answer after which a later one may be better.
    pub(super) fn busy(answer: Answer) -> Self {
        let after = answer.headers().get(header::RETRY_AFTER);
        let delay = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let status = answer.status().as_u16();
        let said = after_colon(&said(answer));
        let cause = match status {
            429 => format!("it says there are too many requests{said}"),
            status => format!("it answers {status}{said}"),
        };
        let delay = delay.map(Duration::from_secs);
        Self { delay, ..Self::new(cause, u32::MAX, "try again later") }
    }

    /// A proxy wants a login.
    pub(super) fn proxy_login(client: &Client, url: &Url, answer: Answer) -> Self {
        let said = after_colon(&said(answer));
        let proxy = client.proxies().on_the_way_to(url.uri());
        let name = proxy.map_or_else(|| "a proxy on the way".to_owned(), |proxy| proxy.name());
        let next = proxy_login_next(proxy.map_or("HTTP_PROXY", |proxy| proxy.variable));
        Self::of_proxy(format!("{name} answers 407{said}"), 0, next)
    }

    /// There is no answer at all.
    pub(super) fn of(client: &Client, url: &Url, error: &ureq::Error) -> Self {
        if let Some(obstacle) = special(client, url, error) {
            return obstacle;
        }
        let cause = describe(error);
        let (retries, next) = match error {
            error if is_unknown_host(error) => (1, "check the name, the network and DNS"),
            ureq::Error::ConnectionFailed => (1, "check the network and the registry"),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                (1, "check that it runs")
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => (0, "it does not work as a registry"),
            _ => (u32::MAX, "check the network and the registry"),
        };
        match client.proxies().on_the_way_to(url.uri()) {
            Some(proxy) if is_connecting(error) => {
                let cause = format!("{} cannot be reached: {cause}", proxy.name());
                Self::of_proxy(cause, retries, format!("check {}, or set NO_PROXY", proxy.variable))
            }
            _ if !url.origin().https && is_not_http(error) => {
                let next = format!(
                    "if it speaks TLS, take it out of plain_http {SETTINGS}, or write https:// for a mirror"
                );
                Self::new(cause, retries, next)
            }
            _ => Self::new(cause, retries, next),
        }
    }
}

/// Errors of the own parts of a connection: TLS, proxies, addresses.
fn special(client: &Client, url: &Url, error: &ureq::Error) -> Option<Obstacle> {
    let ureq::Error::Other(error) = error else { return None };
    let cause = error.to_string();
    if error.is::<LedInside>() {
        return Some(Obstacle::new(cause, 0, "it does not work as a registry"));
    }
    if let Some(UnusableProxy { variable }) = error.downcast_ref() {
        let next = format!(
            "write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT into {variable}"
        );
        return Some(Obstacle::of_proxy(cause, 0, next));
    }
    if let Some(error) = error.downcast_ref() {
        let (retries, next) = match error {
            ProxyError::Refused { status: 407, variable, .. } => (0, proxy_login_next(variable)),
            ProxyError::Refused { status: 500.., variable, .. } => {
                (1, format!("ask the proxy's administrator, or check {variable} and NO_PROXY"))
            }
            ProxyError::Refused { variable, .. } => {
                (0, format!("ask the proxy's administrator, or check {variable} and NO_PROXY"))
            }
            ProxyError::NotHttp { variable, .. } => (0, format!("check {variable}")),
            ProxyError::Socks { variable, .. } => {
                (0, format!("ask the proxy's administrator, or check {variable} and NO_PROXY"))
            }
        };
        return Some(Obstacle::of_proxy(cause, retries, next));
    }
    let tls = error.downcast_ref::<TlsError>()?;
    let next = match tls {
        TlsError::Rustls(error) => tls_next(client, error),
        TlsError::Name(_) => return Some(Obstacle::new(cause, 0, "check the name")),
    };
    match client.proxies().on_the_way_to(url.uri()) {
        Some(proxy) if proxy.url.as_ref().is_some_and(|url| url.origin().https) => {
            let cause = format!("{cause}, from it or from {}", proxy.name());
            Some(Obstacle::new(cause, 0, next))
        }
        _ => Some(Obstacle::new(cause, 0, next)),
    }
}

fn tls_next(client: &Client, error: &rustls::Error) -> String {
    let account = &client.endpoint().account;
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("if it speaks plain HTTP, list it in plain_http {SETTINGS}")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "check this machine's clock, and have the certificate renewed".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "use a name that the certificate has, or have one made with this name among its \
              subjectAltName"
            .to_owned(),
        rustls::Error::InvalidCertificate(_) => format!(
            "name its authority's file as certificates {SETTINGS}, or put it into \
             /etc/docker/certs.d/{account}/ca.crt"
        ),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => format!(
            "if it asks for a client certificate, put it and its key into \
             /etc/docker/certs.d/{account}/client.cert and client.key"
        ),
        _ => "check the network and the registry".to_owned(),
    }
}

fn proxy_login_next(variable: &str) -> String {
    format!("write USER:PASSWORD@ before the proxy's host in {variable}")
}

/// Whether what answers does not speak HTTP, or hangs up on it.
pub(super) fn is_not_http(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Protocol(_) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        ),
        _ => false,
    }
}

/// Whether TLS was answered with something else.
pub(super) fn is_not_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Other(error) => {
            matches!(error.downcast_ref(), Some(TlsError::Rustls(rustls::Error::InvalidMessage(_))))
        }
        _ => true,
    }
}

/// Whether no connection was made.
fn is_connecting(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => {
            is_unknown_name(error)
                || matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkUnreachable
                )
        }
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// ureq passes on what the resolver says in words.
fn is_unknown_host(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        ureq::Error::Io(error) => is_unknown_name(error),
        _ => false,
    }
}

fn is_unknown_name(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address")
}

/// An error of ureq in this program's style.
fn describe(error: &ureq::Error) -> String {
    match error {
        error if is_unknown_host(error) => "its host name is not known".to_owned(),
        ureq::Error::Io(error) => crate::failure::plain(error),
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        ureq::Error::Protocol(error) => format!("it does not answer as HTTP has it ({error})"),
        error => error.to_string(),
    }
}
