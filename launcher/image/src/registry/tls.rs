//! TLS to registries: whom to trust, and what to show of oneself.
//!
//! Beyond ureq's own connector it takes a server's certificate that is itself among the trusted ones, as OpenSSL
//! and Go do, and it shows a client certificate to one host only.

use super::url::Origin;
use crate::certificates::{
    Certificates, CertificatesError, ClientCertificate, HostCertificates, PemFile,
};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, InvalidMessage,
    RootCertStore, SignatureScheme, StreamOwned,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use std::{path::Path, sync::Arc};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// Where systems keep the certificates they trust.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// Why there is no TLS with a host.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{}", in_words(.0))]
    Rustls(rustls::Error),
    #[error("{0:?} is neither a host name nor an address")]
    Name(String),
}

/// Wraps a connection in TLS if its URL says so.
#[derive(Debug)]
pub(super) struct Tls {
    /// The registry's host, without a port.
    host: String,
    /// For the registry itself.
    own: Arc<ClientConfig>,
    /// For hosts that it leads to, and for proxies.
    pub(super) others: Arc<ClientConfig>,
}

impl Tls {
    /// `verified`: false for a registry on this machine, of which nothing is asked over plain HTTP either.
    pub(super) fn new(
        host: &str,
        verified: bool,
        certificates: &Certificates,
        own: &HostCertificates,
    ) -> Result<Self, CertificatesError> {
        let mut trusted = common(certificates)?;
        for file in &own.authorities {
            trusted.extend(parse(file)?);
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier::new(trusted, &provider)?);
        let others = Arc::new(config(&provider, Arc::clone(&verifier) as Arc<_>, None)?);
        let own = match (&own.client, verified) {
            (None, true) => Arc::clone(&others),
            (client, true) => Arc::new(config(&provider, verifier, client.as_ref())?),
            (client, false) => {
                Arc::new(config(&provider, Arc::new(Unverified(verifier)), client.as_ref())?)
            }
        };
        Ok(Self { host: host.to_ascii_lowercase(), own, others })
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, CertificatesError> {
    let error = |path: &str, cause: String| CertificatesError { path: path.to_owned(), cause };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| error("this program", source.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(client) = client else { return Ok(builder.with_no_client_auth()) };
    let chain = parse(&client.chain)?;
    let key = PrivateKeyDer::from_pem_slice(client.key.pem.as_bytes()).map_err(|_| {
        error(&client.key.path, "it has no private key in PEM that is not encrypted".to_owned())
    })?;
    let made = builder.with_client_auth_cert(chain, key);
    made.map_err(|source| error(&client.key.path, source.to_string()))
}

/// What is trusted for every host: what the user named, the system's own, or nothing: then Mozilla's are.
fn common(certificates: &Certificates) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let mut all = Vec::new();
    for file in &certificates.named {
        all.extend(parse(file)?);
    }
    let system = || BUNDLES.iter().map(Path::new).find(|path| path.exists());
    if let (true, Some(path)) = (certificates.and_systems, system()) {
        all.extend(parse(&PemFile::read(path)?)?);
    }
    Ok(all)
}

fn parse(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let error = |cause: String| CertificatesError { path: file.path.clone(), cause };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err(error("it contains none".to_owned())),
        Ok(all) => Ok(all),
        Err(source) => Err(error(source.to_string())),
    }
}

/// Checks a server's certificate as rustls does, and takes one that is itself trusted.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(
        trusted: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, CertificatesError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        if trusted.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let inner = inner.build().map_err(|source| CertificatesError {
            path: "the files that are named".to_owned(),
            cause: source.to_string(),
        })?;
        Ok(Self { inner, trusted })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        match checked {
            // webpki checks the dates before it finds either of these.
            Err(error) if lacks_authority_only(&error) && self.trusted.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// An error of TLS in this program's style.
fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is not signed by an authority that is trusted here".to_owned()
        }
        error if lacks_authority_only(error) => {
            "its certificate is an authority's, and is not itself among those that are trusted here"
                .to_owned()
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS".to_owned()
        }
        rustls::Error::InvalidCertificate(_) => format!("its certificate is not valid ({error})"),
        error => format!("no TLS with it ({error})"),
    }
}

/// Whether a certificate's place in a chain is all that is wrong with it.
fn lacks_authority_only(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else { return false };
    match error {
        CertificateError::UnknownIssuer => true,
        // webpki's `CaUsedAsEndEntity`, which rustls does not name.
        CertificateError::Other(other) => other.to_string().contains("CaUsedAsEndEntity"),
        _ => false,
    }
}

/// Takes any certificate, as Docker does of a registry on this machine.
#[derive(Debug)]
struct Unverified(Arc<Verifier>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Box::new(transport)));
        }
        let origin = Origin::of(details.uri);
        let config = if origin.host == self.host { &self.own } else { &self.others };
        wrap(Box::new(transport), &origin, config, details).map(Some)
    }
}

/// Speaks TLS with `origin` over `transport`.
pub(super) fn wrap(
    transport: Box<dyn Transport>,
    origin: &Origin,
    config: &Arc<ClientConfig>,
    details: &ConnectionDetails<'_>,
) -> Result<Box<dyn Transport>, ureq::Error> {
    let other = |error| ureq::Error::Other(Box::new(error));
    let name = ServerName::try_from(origin.bare_host().to_owned())
        .map_err(|_| other(TlsError::Name(origin.host.clone())))?;
    let mut connection = ClientConnection::new(Arc::clone(config), name)
        .map_err(|error| other(TlsError::Rustls(error)))?;
    let mut socket = TransportAdapter::new(transport, Arc::clone(&details.current_time));
    socket.set_timeout(details.timeout);
    connection.complete_io(&mut socket).map_err(from_io)?;
    let sizes = (details.config.input_buffer_size(), details.config.output_buffer_size());
    let buffers = LazyBuffers::new(sizes.0, sizes.1);
    Ok(Box::new(TlsTransport { buffers, stream: StreamOwned { conn: connection, sock: socket } }))
}

/// An error of TLS that came out of a reader or writer.
fn from_io(error: std::io::Error) -> ureq::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => ureq::Error::Other(Box::new(TlsError::Rustls(error.clone()))),
        None => error.into(),
    }
}

struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        std::io::Write::write_all(&mut self.stream, output).map_err(from_io)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        // A server that wants a client certificate may say so only here.
        let count = std::io::Read::read(&mut self.stream, input).map_err(from_io)?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
