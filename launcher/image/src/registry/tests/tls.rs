//! Certificates: whom to trust, and what to show.

use super::{fronts, *};
use crate::certificates::{ClientCertificate, HostCertificates};

/// Pulls from a front of TLS with a server's certificate. As a mirror it is not excused for being on this machine.
fn pull_from(
    server: &str,
    clients: Option<&str>,
    certificates: impl Fn(&str) -> Certificates,
) -> Result<(Digest, Vec<Event>), Failure> {
    let registry = Registry::with_image();
    let host = format!("localhost:{}", fronts::tls(server, &registry.host(), clients));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirrors = [(closed.to_string(), vec![format!("https://{host}")])].into();
    let settings = Settings { mirrors, ..settings() };
    pull_trusting(&format!("{closed}/app:1"), settings, BTreeMap::new(), certificates(&host))
}

fn named(name: &str) -> Certificates {
    Certificates { named: vec![fronts::file(name)], ..Certificates::default() }
}

#[test]
fn a_server_is_trusted_by_its_authority_or_by_itself() {
    for (server, trusted) in [
        ("server", "root.crt"),
        // Not an authority at all.
        ("server", "server.crt"),
        // What `openssl req -x509` makes: an authority that is a server.
        ("itself", "itself.crt"),
    ] {
        pull_from(server, None, |_| named(trusted))
            .unwrap_or_else(|error| panic!("{server}: {error}"));
    }
}

#[test]
fn a_server_that_is_not_trusted_or_has_another_name_is_refused_with_what_to_do() {
    for (server, trusted, cause) in [
        (
            "server",
            "itself.crt",
            "not signed by an authority that is trusted here; name its authority's file",
        ),
        (
            "itself",
            "root.crt",
            "is not itself among those that are trusted here; name its authority's file",
        ),
        ("other", "root.crt", "use a name that the certificate has"),
        ("other", "other.crt", "use a name that the certificate has"),
    ] {
        let (kind, message) = kind_and_message(pull_from(server, None, |_| named(trusted)));
        assert_eq!(kind, FailureKind::Unreachable);
        assert!(message.contains(cause), "{message}");
    }
}

#[test]
fn a_registrys_own_folder_adds_authorities_and_a_client_certificate() {
    let own = |client: bool| {
        move |host: &str| {
            let client = client.then(|| ClientCertificate {
                chain: fronts::file("client.crt"),
                key: fronts::file("client.key"),
            });
            let own = HostCertificates { authorities: vec![fronts::file("root.crt")], client };
            Certificates { hosts: [(host.to_owned(), own)].into(), ..named("itself.crt") }
        }
    };
    pull_from("server", None, own(false)).unwrap();
    pull_from("server", Some("root.crt"), own(true)).unwrap();
    let (_, message) = kind_and_message(pull_from("server", Some("root.crt"), own(false)));
    assert!(message.contains("/client.cert and client.key"), "{message}");
}

#[test]
fn files_without_certificates_or_keys_are_told() {
    let broken = |_: &str| named("server.key");
    let (kind, message) = kind_and_message(pull_from("server", None, broken));
    assert_eq!(kind, FailureKind::Other);
    assert!(message.contains("server.key: it contains none"), "{message}");
    let (_, message) = kind_and_message(pull_from("server", None, |host| {
        let client = ClientCertificate {
            chain: fronts::file("client.crt"),
            key: fronts::file("client.crt"),
        };
        let own = HostCertificates { authorities: Vec::new(), client: Some(client) };
        Certificates { hosts: [(host.to_owned(), own)].into(), ..named("root.crt") }
    }));
    assert!(message.contains("client.crt: it has no private key"), "{message}");
}

#[test]
fn a_registry_on_this_machine_may_speak_tls_with_any_certificate() {
    let registry = Registry::with_image();
    let port = fronts::tls("other", &registry.host(), None);
    let name = format!("127.0.0.1:{port}/app:1");
    pull_with(&name, settings(), BTreeMap::new()).unwrap();
    let listed =
        Settings { plain_http: vec![format!("127.0.0.1:{port}")], retries: 0, ..settings() };
    let (_, message) = kind_and_message(pull_with(&name, listed, BTreeMap::new()));
    assert!(message.contains("if it speaks TLS, take it out of plain_http"), "{message}");
}

#[test]
fn a_plain_registry_that_is_said_to_speak_tls_is_told() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirror = format!("https://127.0.0.1:{}", fronts::plain_only());
    let mirrors = [(closed.to_string(), vec![mirror])].into();
    let settings = Settings { mirrors, retries: 0, ..settings() };
    let pulled = pull_with(&format!("{closed}/app:1"), settings, BTreeMap::new());
    let (_, message) = kind_and_message(pulled);
    assert!(message.contains("it does not speak TLS; if it speaks plain HTTP"), "{message}");
}
