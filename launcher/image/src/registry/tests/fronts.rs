//! What stands before a registry: TLS, and a proxy.

use super::server::answer_bytes;
use crate::certificates::PemFile;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// A file of `tests/certificates`.
pub(super) fn file(name: &str) -> PemFile {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/registry/tests/certificates");
    PemFile::read(&std::path::Path::new(folder).join(name)).unwrap()
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(file(name).pem.as_bytes()).map(Result::unwrap).collect()
}

/// Speaks TLS as `name`'s certificate before the plain server at `to`; the front's port. Clients of `clients`' authority
/// only, if that is given.
pub(super) fn tls(name: &str, to: &str, clients: Option<&str>) -> u16 {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(chain(authority));
            let roots = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(roots.build().unwrap())
        }
    };
    let key = file(&format!("{name}.key"));
    let key = PrivateKeyDer::from_pem_slice(key.pem.as_bytes()).unwrap();
    let config = builder.with_single_cert(chain(&format!("{name}.crt")), key).unwrap();
    let (config, to) = (Arc::new(config), to.to_owned());
    serve(move |stream| {
        let mut stream =
            StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let Some(request) = head(&mut stream) else { return };
        let mut behind = TcpStream::connect(&to).unwrap();
        behind.write_all(&request).unwrap();
        let mut answer = Vec::new();
        behind.read_to_end(&mut answer).unwrap();
        // A client that leaves is none of a test's business.
        let _ = stream.write_all(&answer);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

/// A proxy for one server: whatever is asked for, `to` is what answers.
pub(super) struct Proxy {
    pub(super) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `login`: the `Proxy-Authorization` that it wants.
    pub(super) fn to(to: &str, login: Option<&'static str>) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (to, seen) = (to.to_owned(), Arc::clone(&heads));
        let port = serve(move |mut stream| {
            let Some(request) = head(&mut stream) else { return };
            let text = String::from_utf8(request.clone()).unwrap();
            seen.lock().unwrap().push(text.clone());
            if login
                .is_some_and(|login| !text.contains(&format!("Proxy-Authorization: {login}\r\n")))
            {
                let _ = stream.write_all(&answer_bytes(407, &[], b"<body>Who are you?</body>"));
                return;
            }
            let mut behind = TcpStream::connect(&to).unwrap();
            if text.starts_with("CONNECT ") {
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                return join(stream, behind);
            }
            // The server behind it knows paths only.
            let path = text.replacen(&format!("http://{}", host_of(&text)), "", 1);
            behind.write_all(path.as_bytes()).unwrap();
            let _ = std::io::copy(&mut behind, &mut stream);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
        Self { port, heads }
    }

    /// The heads of all requests to it.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// A proxy of SOCKS 5 without logins for one server; its port.
pub(super) fn socks_to(to: &str) -> u16 {
    let to = to.to_owned();
    serve(move |mut stream| {
        let mut hello = [0; 3];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(hello, [5, 1, 0]);
        stream.write_all(&[5, 0]).unwrap();
        let mut name = [0; 5];
        stream.read_exact(&mut name).unwrap();
        assert_eq!(name[..4], [5, 1, 0, 3]);
        stream.read_exact(&mut vec![0; usize::from(name[4]) + 2]).unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        join(stream, TcpStream::connect(&to).unwrap());
    })
}

/// Passes on what each side says to the other.
fn join(mut one: TcpStream, mut other: TcpStream) {
    let (mut from, mut into) = (one.try_clone().unwrap(), other.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut into));
    let _ = std::io::copy(&mut other, &mut one);
    let _ = one.shutdown(std::net::Shutdown::Both);
}

/// Answers anything, TLS too, as servers of plain HTTP do; the port.
pub(super) fn plain_only() -> u16 {
    serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&answer_bytes(400, &[], b"bad request"));
    })
}

/// The host in the request line of `GET http://HOST/… HTTP/1.1`.
fn host_of(head: &str) -> &str {
    let rest = head.split_once("http://").map_or("", |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Serves each connection in a thread until the process ends; the port.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

/// The head of a request.
fn head(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(head)
}
