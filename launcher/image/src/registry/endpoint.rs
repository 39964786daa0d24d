//! Endpoints: the URLs that stand for a registry, mirrors among them.

use super::error::RegistryError;
use crate::{reference::DEFAULT_REGISTRY, settings::Settings};

/// Docker Hub's registry answers elsewhere than at its name.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// One place to ask for images.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `HOST[:PORT]` to connect to.
    host: String,
    /// Goes before the repository, with a slash at its end, or is empty.
    prefix: String,
    /// The name by which credentials are found.
    pub(super) account: String,
    pub(super) https: bool,
    /// On this machine.
    pub(super) loopback: bool,
    /// Whether it speaks plain HTTP or TLS is for it to say: it is on this machine, and no setting says which.
    pub(super) may_speak_tls: bool,
}

impl Endpoint {
    /// The mirrors of `registry` and then itself.
    pub(super) fn all(registry: &str, settings: &Settings) -> Result<Vec<Self>, RegistryError> {
        let mirrors = settings.mirrors.get(registry).into_iter().flatten();
        let mut all = mirrors.map(|text| Self::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let host = if registry == DEFAULT_REGISTRY { DOCKER_HUB } else { registry };
        let loopback = is_loopback(host);
        let listed = settings.plain_http.iter().any(|plain| plain == registry);
        all.push(Self {
            host: host.to_owned(),
            prefix: String::new(),
            account: registry.to_owned(),
            https: !loopback && !listed,
            loopback,
            may_speak_tls: loopback && !listed,
        });
        Ok(all)
    }

    fn parse(text: &str) -> Result<Self, RegistryError> {
        let error = || RegistryError::Mirror { text: text.to_owned() };
        let (scheme, rest) = text.split_once("://").ok_or_else(error)?;
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let host_ok = !host.is_empty() && host.chars().all(|c| plain(c) || ":[]".contains(c));
        if !matches!(scheme, "http" | "https") || !host_ok || !prefix.chars().all(plain) {
            return Err(error());
        }
        Ok(Self {
            host: host.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            account: host.to_owned(),
            https: scheme == "https",
            loopback: is_loopback(host),
            may_speak_tls: false,
        })
    }

    /// The host to connect to, without its port.
    pub(super) fn host_name(&self) -> &str {
        match self.host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // As URLs have it.
            Some((address, _)) => &self.host[..address.len() + 2],
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    /// Scheme and host of its URLs.
    pub(super) fn start(&self, https: bool) -> String {
        format!("{}://{}", if https { "https" } else { "http" }, self.host)
    }

    /// The rest of the URL of one part of a repository.
    pub(super) fn path(&self, repository: &str, part: &str) -> String {
        format!("/v2/{}{repository}/{part}", self.prefix)
    }

    /// What a token must allow, unless the registry says.
    pub(super) fn scope(&self, repository: &str) -> String {
        format!("repository:{}{repository}:pull", self.prefix)
    }
}

/// Whether `HOST[:PORT]` is this machine, by its name alone.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(registry: &str, settings: &Settings) -> Vec<String> {
        let all = Endpoint::all(registry, settings).unwrap();
        let url = |endpoint: &Endpoint| {
            endpoint.start(endpoint.https) + &endpoint.path("library/nginx", "manifests/1")
        };
        all.iter().map(url).collect()
    }

    #[test]
    fn mirrors_come_first_and_the_registry_last() {
        let mirrors = ["http://10.0.2.2:5000", "https://mirror.example/hub/"].map(str::to_owned);
        let settings = Settings {
            mirrors: [("docker.io".to_owned(), mirrors.to_vec())].into(),
            ..Settings::default()
        };
        assert_eq!(
            urls("docker.io", &settings),
            [
                "http://10.0.2.2:5000/v2/library/nginx/manifests/1",
                "https://mirror.example/v2/hub/library/nginx/manifests/1",
                "https://registry-1.docker.io/v2/library/nginx/manifests/1",
            ]
        );
    }

    #[test]
    fn only_loopback_and_listed_registries_speak_plain_http() {
        let settings =
            Settings { plain_http: vec!["a.example:5000".into()], ..Settings::default() };
        for (registry, start) in [
            ("127.0.0.1:5000", "http://"),
            ("localhost", "http://"),
            ("[::1]:5000", "http://"),
            ("a.example:5000", "http://"),
            ("a.example", "https://"),
            ("localhost.example", "https://"),
        ] {
            assert!(urls(registry, &settings)[0].starts_with(start), "{registry}");
        }
    }

    #[test]
    fn a_registry_on_this_machine_may_speak_tls_unless_the_settings_say_plain_http() {
        let settings =
            Settings { plain_http: vec!["localhost:5000".into()], ..Settings::default() };
        for (registry, may) in
            [("localhost:5000", false), ("localhost:5001", true), ("a.example", false)]
        {
            let all = Endpoint::all(registry, &settings).unwrap();
            assert_eq!(all[0].may_speak_tls, may, "{registry}");
        }
    }

    #[test]
    fn a_mirror_that_is_no_url_is_named() {
        for bad in
            ["10.0.2.2:5000", "ftp://a", "http://", "http://a b", "http://a/?x", "http://u@h"]
        {
            assert!(matches!(Endpoint::parse(bad), Err(RegistryError::Mirror { .. })), "{bad}");
        }
    }
}
