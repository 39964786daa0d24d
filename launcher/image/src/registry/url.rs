//! URLs of registries, of their token services, and of where they lead.

use super::login;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use std::fmt;
use ureq::http::Uri;

/// What a URL cannot contain as it is. A `%` stays: what is encoded is not encoded again.
const RAW: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An absolute URL of HTTP or HTTPS.
#[derive(Clone, Debug)]
pub(super) struct Url {
    uri: Uri,
    account: Option<Account>,
}

/// The account that a URL contains.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Account(…)")
    }
}

/// Scheme, host and port: whom a request reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) https: bool,
    /// In lower case; an IPv6 address has its brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Url {
    /// Takes a URL as people and servers write it: blanks and other raw characters are encoded.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = encode(text);
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (account, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let slash = if path.starts_with('/') { "" } else { "/" };
        let uri: Uri = format!("{scheme}://{host}{slash}{path}").parse().ok()?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let account = (!account.is_empty()).then(|| {
            let (user, password) = account.split_once(':').unwrap_or((account, ""));
            let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            Account { user: decoded(user), password: decoded(password) }
        });
        (known && uri.host().is_some_and(|host| !host.is_empty())).then_some(Self { uri, account })
    }

    /// Where `location` leads from here: a URL, or one relative to this (RFC 3986).
    pub(super) fn join(&self, location: &[u8]) -> Option<Self> {
        let location = location.trim_ascii();
        let text = encode(location);
        let scheme = text.split(['/', '?']).next().unwrap_or_default();
        if location.is_empty() || scheme.contains(':') {
            return Self::parse(location);
        }
        let (path, query) = self.path_and_query();
        let (origin, here) = (self.origin(), self.uri.scheme_str().unwrap_or_default());
        let joined = if text.starts_with("//") {
            format!("{here}:{text}")
        } else if text.starts_with('?') {
            format!("{origin}{path}{text}")
        } else if text.is_empty() {
            format!("{origin}{path}{query}")
        } else {
            let (way, query) = text.split_at(text.find('?').unwrap_or(text.len()));
            let folder = if way.starts_with('/') { "" } else { path.rsplit_once('/')?.0 };
            let slash = if way.starts_with('/') { "" } else { "/" };
            format!("{origin}{}{query}", without_dots(&format!("{folder}{slash}{way}")))
        };
        Self::parse(joined.as_bytes())
    }

    fn path_and_query(&self) -> (&str, String) {
        let query = self.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        (self.uri.path(), query)
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The value of `Authorization` for the URL's account.
    pub(super) fn login(&self) -> Option<String> {
        self.account.as_ref().map(|account| login::basic(&account.user, &account.password))
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::of(&self.uri)
    }
}

impl Origin {
    pub(super) fn of(uri: &Uri) -> Self {
        let https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        Self { https, host, port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }) }
    }

    /// Whether a request that was meant for `other` may be answered here with its login: this is the same, or the
    /// same host over TLS, each at its scheme's own port.
    pub(super) fn stands_for(&self, other: &Self) -> bool {
        let upgraded = self.https && self.port == 443 && !other.https && other.port == 80;
        self == other || (upgraded && self.host == other.host)
    }

    /// The host as addresses are written, without brackets.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(formatter, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(formatter, ":{}", self.port) }
    }
}

/// The part of a URL that is sent, with raw characters encoded.
fn encode(text: &[u8]) -> String {
    let sent = text.split(|byte| *byte == b'#').next().unwrap_or_default();
    percent_encode(sent.trim_ascii(), RAW).to_string()
}

/// A path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let parts = path.split('/').skip(1);
    let ends_in_folder = matches!(path.rsplit('/').next(), Some("." | ".." | ""));
    for part in parts {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let path = format!("/{}", kept.join("/"));
    if ends_in_folder && !path.ends_with('/') { path + "/" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(from: &str, location: &str) -> Option<String> {
        let url = Url::parse(from.as_bytes()).unwrap().join(location.as_bytes())?;
        Some(url.uri().to_string())
    }

    #[test]
    fn a_location_may_be_relative_in_every_way() {
        let from = "http://a.example:5000/v2/app/blobs/1?x=y";
        for (location, wanted) in [
            ("https://b.example/c", "https://b.example/c"),
            ("HTTPS://b.example", "https://b.example/"),
            ("//b.example/c?d", "http://b.example/c?d"),
            ("/c/d?e=f", "http://a.example:5000/c/d?e=f"),
            ("2", "http://a.example:5000/v2/app/blobs/2"),
            ("../manifests/./2", "http://a.example:5000/v2/app/manifests/2"),
            ("/../../c", "http://a.example:5000/c"),
            ("?z", "http://a.example:5000/v2/app/blobs/1?z"),
            ("/c#part", "http://a.example:5000/c"),
            (" /c ", "http://a.example:5000/c"),
        ] {
            assert_eq!(joined(from, location).as_deref(), Some(wanted), "{location}");
        }
        for bad in ["", "ftp://b/c", "mailto:x", "https://", "http:///c"] {
            assert_eq!(joined(from, bad), None, "{bad}");
        }
    }

    #[test]
    fn raw_characters_are_encoded_and_encoded_ones_are_kept() {
        let from = "http://a/";
        for (location, wanted) in [
            ("/a b", "http://a/a%20b"),
            ("/\u{e9}\"<>", "http://a/%C3%A9%22%3C%3E"),
            ("/a%20b%2Fc", "http://a/a%20b%2Fc"),
            ("/100%?q=a b|c", "http://a/100%?q=a%20b%7Cc"),
            ("/a+b?sig=x/y+z==&[1]", "http://a/a+b?sig=x/y+z==&[1]"),
        ] {
            assert_eq!(joined(from, location).as_deref(), Some(wanted), "{location}");
        }
        let latin1 = Url::parse(b"http://a/").unwrap().join(b"/\xe9").unwrap();
        assert_eq!(latin1.uri().to_string(), "http://a/%E9");
    }

    #[test]
    fn an_origin_has_scheme_host_and_port_and_never_the_account() {
        let url = Url::parse(b"https://u%40x:p@Example.org/c").unwrap();
        assert_eq!(url.origin().to_string(), "https://example.org");
        assert_eq!(url.login().as_deref(), Some("Basic dUB4OnA="));
        let other = |text: &str| Url::parse(text.as_bytes()).unwrap().origin();
        assert_eq!(url.origin(), other("https://example.org:443/"));
        assert_ne!(url.origin(), other("http://example.org/"));
        assert_ne!(url.origin(), other("https://example.org:5000/"));
        assert_eq!(other("http://[::1]:5000").bare_host(), "::1");
    }

    #[test]
    fn only_the_same_host_stands_for_another_and_tls_for_plain_http() {
        let origin = |text: &str| Url::parse(text.as_bytes()).unwrap().origin();
        let stands = |one: &str, other: &str| origin(one).stands_for(&origin(other));
        assert!(stands("http://a.example:5000/x", "http://A.example:5000/"));
        assert!(stands("https://a.example", "http://a.example"));
        for (one, other) in [
            ("http://a.example", "https://a.example"),
            ("https://a.example:5001", "http://a.example:5000"),
            ("http://a.example:5001", "http://a.example:5000"),
            ("https://b.a.example", "https://a.example"),
            ("https://a.example", "https://b.a.example"),
        ] {
            assert!(!stands(one, other), "{one} {other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_location_makes_the_parser_panic(location in "\\PC{0,40}") {
            let _ = joined("http://a/b/c", &location);
        }
    }
}
