//! The way through a proxy: `CONNECT` for HTTPS, whole URLs in the request line for plain HTTP.

use super::{
    proxy::{Proxies, Proxy},
    said, socks, tls,
    url::Origin,
};
use rustls::ClientConfig;
use std::{fmt, sync::Arc};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// What is read of an answer to `CONNECT`.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Why a proxy is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("{proxy} answers {status} to CONNECT{said}")]
    Refused { proxy: String, variable: &'static str, status: u16, said: String },
    #[error("{proxy} makes no connection: {said}")]
    Socks { proxy: String, variable: &'static str, said: String },
    #[error("{proxy} answers CONNECT with something else than HTTP")]
    NotHttp { proxy: String, variable: &'static str },
}

/// Makes of a connection to a proxy one through it.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) proxies: Arc<Proxies>,
    /// For proxies that speak TLS.
    pub(super) tls: Arc<ClientConfig>,
}

impl<In: Transport> Connector<In> for Tunnel {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        let mut transport: Box<dyn Transport> = Box::new(transport);
        let Some(proxy) = self.proxies.on_the_way_to(details.uri) else {
            return Ok(Some(transport));
        };
        let Some(url) = &proxy.url else { return Ok(Some(transport)) };
        if url.origin().https {
            transport = tls::wrap(transport, &url.origin(), &self.tls, details)?;
        }
        let origin = Origin::of(details.uri);
        if proxy.socks {
            let mut wire = SocksWire { transport: &mut *transport, timeout: details.timeout };
            let asked = socks::ask(&mut wire, &origin, url.account())?;
            let (proxy, variable) = (proxy.name(), proxy.variable);
            asked.map_err(|said| {
                ureq::Error::Other(Box::new(ProxyError::Socks { proxy, variable, said }))
            })?;
            return Ok(Some(transport));
        }
        let login = url.login().map(|login| format!("Proxy-Authorization: {login}\r\n"));
        let login = login.unwrap_or_default();
        if details.needs_tls() {
            ask(&mut *transport, proxy, &origin, &login, details.timeout)?;
            return Ok(Some(transport));
        }
        Ok(Some(Box::new(WholeUrls { inner: transport, origin, login, begins: true })))
    }
}

/// Asks a proxy for a connection to `origin`.
fn ask(
    transport: &mut dyn Transport,
    proxy: &Proxy,
    origin: &Origin,
    login: &str,
    timeout: NextTimeout,
) -> Result<(), ureq::Error> {
    let (host, port) = (&origin.host, origin.port);
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n");
    send(transport, request.as_bytes(), timeout)?;
    let end = loop {
        let more = transport.await_input(timeout)?;
        let input = transport.buffers().input();
        match input.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break Some(end + 4),
            None if more && input.len() < MAX_ANSWER_BYTES => {}
            None => break None,
        }
    };
    let (proxy, variable) = (proxy.name(), proxy.variable);
    let error = match (end, status(transport.buffers().input())) {
        (Some(end), Some(200..=299)) => {
            transport.buffers().input_consume(end);
            return Ok(());
        }
        (Some(end), Some(status)) => {
            let said = said::after_colon(&said::in_words(&body(transport, end, timeout)));
            ProxyError::Refused { proxy, variable, status, said }
        }
        _ => ProxyError::NotHttp { proxy, variable },
    };
    Err(ureq::Error::Other(Box::new(error)))
}

/// The body of a refusal, or what comes of it in time.
fn body(transport: &mut dyn Transport, start: usize, timeout: NextTimeout) -> Vec<u8> {
    let head = transport.buffers().input()[..start].to_ascii_lowercase();
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut lengths = lines.filter_map(|line| line.strip_prefix("content-length:"));
    let length = lengths.next().and_then(|length| length.trim().parse().ok());
    let all = start.saturating_add(length.unwrap_or(MAX_ANSWER_BYTES)).min(MAX_ANSWER_BYTES);
    while transport.buffers().input().len() < all {
        if !transport.await_input(timeout).unwrap_or(false) {
            break;
        }
    }
    transport.buffers().input()[start..].to_vec()
}

/// The number in `HTTP/1.1 200 …`.
fn status(head: &[u8]) -> Option<u16> {
    let head = head.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(head.get(2..5)?).ok()?.parse().ok()
}

fn send(
    transport: &mut dyn Transport,
    bytes: &[u8],
    timeout: NextTimeout,
) -> Result<(), ureq::Error> {
    let mut left = bytes;
    while !left.is_empty() {
        let output = transport.buffers().output();
        let count = left.len().min(output.len());
        output[..count].copy_from_slice(&left[..count]);
        transport.transmit_output(count, timeout)?;
        left = &left[count..];
    }
    Ok(())
}

/// A connection on which SOCKS is spoken.
struct SocksWire<'a> {
    transport: &'a mut dyn Transport,
    timeout: NextTimeout,
}

impl socks::Wire for SocksWire<'_> {
    type Error = ureq::Error;

    fn say(&mut self, bytes: &[u8]) -> Result<(), ureq::Error> {
        send(self.transport, bytes, self.timeout)
    }

    fn hear(&mut self, count: usize) -> Result<Vec<u8>, ureq::Error> {
        while self.transport.buffers().input().len() < count {
            if !self.transport.await_input(self.timeout)? {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
        let heard = self.transport.buffers().input()[..count].to_vec();
        self.transport.buffers().input_consume(count);
        Ok(heard)
    }
}

/// A connection to a proxy that takes requests for others: their request lines have whole URLs.
struct WholeUrls {
    inner: Box<dyn Transport>,
    origin: Origin,
    /// A header line, or nothing.
    login: String,
    /// What is sent next begins a request.
    begins: bool,
}

impl fmt::Debug for WholeUrls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WholeUrls({})", self.origin)
    }
}

impl Transport for WholeUrls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if !std::mem::replace(&mut self.begins, false) {
            return self.inner.transmit_output(amount, timeout);
        }
        let sent = &self.inner.buffers().output()[..amount];
        let request = with_whole_url(sent, &self.origin, &self.login);
        send(&mut *self.inner, &request, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.begins = true;
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// `GET /path HTTP/1.1 …` as a proxy wants it.
fn with_whole_url(request: &[u8], origin: &Origin, login: &str) -> Vec<u8> {
    let method = request.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
    let line = request.windows(2).position(|two| two == b"\r\n").map_or(method, |end| end + 2);
    let origin = origin.to_string();
    let parts = [
        &request[..method],
        origin.as_bytes(),
        &request[method..line],
        login.as_bytes(),
        &request[line..],
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_a_whole_url_and_the_proxys_login() {
        let origin = Origin::of(&"http://reg.example:5000".parse().unwrap());
        let request = b"GET /v2/ HTTP/1.1\r\nhost: reg.example:5000\r\n\r\n";
        let sent = with_whole_url(request, &origin, "Proxy-Authorization: Basic dTpw\r\n");
        let wanted = b"GET http://reg.example:5000/v2/ HTTP/1.1\r\n\
            Proxy-Authorization: Basic dTpw\r\nhost: reg.example:5000\r\n\r\n";
        assert_eq!(sent, wanted);
    }

    #[test]
    fn the_status_of_an_answer_is_read_and_nothing_else() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n"), Some(407));
        for bad in [&b"HTTP/1.1"[..], b"SSH-2.0-x", b"HTTP/2 200", b"HTTP/1.1 2x0 "] {
            assert_eq!(status(bad), None, "{bad:?}");
        }
    }
}
