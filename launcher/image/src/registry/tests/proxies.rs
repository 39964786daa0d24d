//! Proxies on the way to a registry.

use super::{fronts::Proxy, *};

/// Asks for the manifest of `REGISTRY/app:1`, whose name only the proxy knows.
fn top(
    variables: &[(&str, String)],
    registry: &str,
    certificates: &Certificates,
) -> Result<Vec<u8>, RegistryError> {
    let get = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, v)| v.clone());
    let settings =
        Settings { plain_http: vec!["plain.example:5000".to_owned()], retries: 0, ..settings() };
    let reference = format!("{registry}/app:1").parse().unwrap();
    let notify: Notify = Arc::new(|_| {});
    Remote::through(Proxies::new(get), reference, &settings, BTreeMap::new(), certificates, notify)?
        .top()
}

fn plain(variables: &[(&str, String)]) -> Result<Vec<u8>, RegistryError> {
    top(variables, "plain.example:5000", &Certificates::default())
}

#[test]
fn plain_http_goes_through_a_proxy_without_connect() {
    let proxy = Proxy::to(&Registry::with_image().host(), Some("Basic dSBzOnBAcw=="));
    let url = format!("http://u%20s:p%40s@127.0.0.1:{}", proxy.port);
    plain(&[("HTTP_PROXY", url)]).unwrap();
    let head = &proxy.heads()[0];
    assert!(
        head.starts_with("GET http://plain.example:5000/v2/app/manifests/1 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("host: plain.example:5000\r\n"), "{head}");
}

#[test]
fn https_goes_through_a_proxy_by_connect() {
    let tls = fronts::tls("other", &Registry::with_image().host(), None);
    let proxy = Proxy::to(&format!("127.0.0.1:{tls}"), Some("Basic dTpw"));
    let url = format!("u:p@127.0.0.1:{}", proxy.port);
    let trusted = Certificates { named: vec![fronts::file("root.crt")], ..Certificates::default() };
    top(&[("https_proxy", url.clone()), ("HTTP_PROXY", "x".into())], "other.example", &trusted)
        .unwrap();
    assert!(proxy.heads()[0].starts_with("CONNECT other.example:443 HTTP/1.1\r\n"));
    assert_eq!(proxy.heads().len(), 1);
    let error =
        top(&[("https_proxy", url)], "other.example", &Certificates::default()).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("not signed by an authority that is trusted"), "{error}");
}

#[test]
fn both_schemes_go_through_a_proxy_of_socks() {
    let registry = Registry::with_image();
    let url = format!("socks5://127.0.0.1:{}", fronts::socks_to(&registry.host()));
    plain(&[("ALL_PROXY", url)]).unwrap();
    let tls = fronts::tls("other", &registry.host(), None);
    let url = format!("socks5h://127.0.0.1:{}", fronts::socks_to(&format!("127.0.0.1:{tls}")));
    let trusted = Certificates { named: vec![fronts::file("root.crt")], ..Certificates::default() };
    top(&[("HTTPS_PROXY", url)], "other.example", &trusted).unwrap();
}

#[test]
fn a_proxy_that_fails_is_named_with_its_words_and_without_its_password() {
    let proxy = Proxy::to("127.0.0.1:1", Some("Basic dTpw"));
    let wrong = format!("http://u:secret@127.0.0.1:{}", proxy.port);
    for (variable, registry) in
        [("HTTP_PROXY", "plain.example:5000"), ("HTTPS_PROXY", "other.example")]
    {
        let error = top(&[(variable, wrong.clone())], registry, &Certificates::default());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(&format!("proxy http://127.0.0.1:{} answers 407", proxy.port)),
            "{error}"
        );
        assert!(error.contains("Who are you?") && error.contains(variable), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = plain(&[("ALL_PROXY", closed.to_string())]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "registry http://plain.example:5000 cannot be reached: proxy http://{closed} cannot be reached: \
             connection refused; check ALL_PROXY, or set NO_PROXY"
        )
    );
    let error = plain(&[("ALL_PROXY", "socks4://127.0.0.1:1".into())]).unwrap_err().to_string();
    assert!(error.contains("ALL_PROXY has no proxy of HTTP or SOCKS 5"), "{error}");
}
