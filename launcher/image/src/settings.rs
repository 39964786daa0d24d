//! Settings: the `[image]` section of `/etc/launch/config.toml`.

use crate::{limits::Limits, reference::Reference};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// What an administrator can set about images; everything has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to look first for a registry's images, in this order, each
    /// `http[s]://HOST[:PORT][/PREFIX]`; the registry itself comes last.
    ///
    /// ```toml
    /// [image.mirrors]
    /// "docker.io" = ["http://10.0.2.2:5000"]
    /// ```
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries (`HOST[:PORT]`) that speak plain HTTP; those on this machine's loopback
    /// addresses always may.
    pub plain_http: Vec<String>,
    /// Certificates to trust, in PEM; by default `SSL_CERT_FILE`, else the system's, else
    /// Mozilla's as of the build. Those of one registry are in `/etc/docker/certs.d`.
    pub certificates: Option<PathBuf>,
    /// The program that fetches and converts.
    pub fetcher: PathBuf,
    /// The user that fetches and converts; by default the user `_launch`, else 64321.
    pub fetch_uid: Option<u32>,
    /// Whether to fetch and convert even if the kernel lacks Landlock or seccomp, which protect dom0 from a
    /// hostile image. A line on stderr says so each time.
    pub allow_unsandboxed_fetch: bool,
    /// How often a request is tried again after a network error or a busy registry.
    pub retries: u32,
    /// The delay before the first retry; it doubles with each further one.
    pub first_retry_ms: u64,
    /// How long a connection may take to be made.
    pub connect_timeout_s: u64,
    /// How long a registry may send nothing.
    pub idle_timeout_s: u64,
    /// How large an image may be.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            plain_http: Vec::new(),
            certificates: None,
            fetcher: "/usr/lib/launch/fetch".into(),
            fetch_uid: None,
            allow_unsandboxed_fetch: false,
            retries: 5,
            first_retry_ms: 500,
            connect_timeout_s: 15,
            idle_timeout_s: 60,
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Every place that `reference` may be fetched from: `HOST[:PORT]`, and the repository there; mirrors, then its
    /// registry.
    pub(crate) fn places_of<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> impl Iterator<Item = (&'a str, String)> {
        let (registry, repository) = (reference.registry(), reference.repository());
        let mirrors = self.mirrors.get(registry).into_iter().flatten();
        let mirrors = mirrors.filter_map(|mirror| mirror.split_once("://"));
        let mirrors = mirrors.map(move |(_, rest)| match rest.split_once('/') {
            Some((host, prefix)) if !prefix.is_empty() => {
                (host, format!("{}/{repository}", prefix.trim_end_matches('/')))
            }
            _ => (rest.trim_end_matches('/'), repository.to_owned()),
        });
        mirrors.chain([(registry, repository.to_owned())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_with_the_repository_below_their_path() {
        let mirrors = ["https://a.example:5000/hub/", "http://b.example"].map(str::to_owned);
        let settings = Settings {
            mirrors: [("docker.io".to_owned(), mirrors.to_vec())].into(),
            ..Settings::default()
        };
        let reference = "nginx".parse().unwrap();
        let places: Vec<_> = settings.places_of(&reference).collect();
        let places: Vec<_> = places.iter().map(|(host, path)| (*host, path.as_str())).collect();
        assert_eq!(
            places,
            [
                ("a.example:5000", "hub/library/nginx"),
                ("b.example", "library/nginx"),
                ("docker.io", "library/nginx"),
            ]
        );
    }
}
