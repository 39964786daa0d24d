//! Image references: `nginx` means `docker.io/library/nginx:latest`, by Docker's rules.

use crate::digest::{Digest, DigestError};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The registry of a name that names none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const LIBRARY: &str = "library/";
/// Longest registry and repository together, as Docker has it.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// The full name of an image in a registry.
///
/// It has a tag or a digest or both; with both, the digest decides what is pulled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Docker allows capitals in host names and tags only.
    #[error("image name {0:?} has capital letters; repository names are lower-case")]
    Capitals(String),
    /// No repository, or a part of it breaks the rules.
    #[error("image name {0:?} is not valid; it is [REGISTRY/]NAME[:TAG][@DIGEST]")]
    Name(String),
    /// The part before the first slash is no host name.
    #[error("registry {registry:?} in image name {name:?} is not HOST[:PORT]")]
    Registry {
        /// The whole text.
        name: String,
        /// The part at fault.
        registry: String,
    },
    /// Tags are up to 128 letters, digits, `_`, `.` and `-`.
    #[error(
        "tag {tag:?} in image name {name:?} is not valid; a tag has up to 128 letters, digits, _, . and -"
    )]
    Tag {
        /// The whole text.
        name: String,
        /// The part at fault.
        tag: String,
    },
    /// The part after `@` is no digest.
    #[error("in image name {name:?}")]
    Digest {
        /// The whole text.
        name: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// Longer than any registry takes.
    #[error("image name is longer than {MAX_NAME} characters")]
    Long,
}

impl Reference {
    /// The registry's `HOST[:PORT]`, e.g. `docker.io`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, e.g. `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if any.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if any.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry's `manifests/` path takes: the digest, else the tag.
    #[must_use]
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.as_deref().unwrap_or(DEFAULT_TAG).to_owned(),
        }
    }

    /// As people type it: without the registry and `library/` where they are the default.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = self.to_string();
        if self.registry == DEFAULT_REGISTRY {
            text.drain(..=DEFAULT_REGISTRY.len());
            if text.starts_with(LIBRARY) {
                text.drain(..LIBRARY.len());
            }
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() > MAX_NAME + MAX_TAG + 80 {
            return Err(ReferenceError::Long);
        }
        let whole = || text.to_owned();
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ReferenceError::Digest { name: whole(), source })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to a port.
        let (path, mut tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag { name: whole(), tag: tag.clone() });
        }
        let (registry, repository) = split_registry(path);
        if !is_registry(registry) {
            return Err(ReferenceError::Registry { name: whole(), registry: registry.to_owned() });
        }
        if !repository.split('/').all(is_component) {
            let lower = repository.to_ascii_lowercase();
            let only_case = lower != repository && lower.split('/').all(is_component);
            return Err(match only_case {
                true => ReferenceError::Capitals(whole()),
                false => ReferenceError::Name(whole()),
            });
        }
        // Docker keeps these for image IDs.
        if registry == DEFAULT_REGISTRY && Digest::from_hex(path).is_ok() {
            return Err(ReferenceError::Name(whole()));
        }
        let mut repository = repository.to_owned();
        if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            repository.insert_str(0, LIBRARY);
        }
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(ReferenceError::Long);
        }
        if tag.is_none() && digest.is_none() {
            tag = Some(DEFAULT_TAG.to_owned());
        }
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// The first part is a registry when it could not be a repository's: it has a dot, a port or a
/// capital, or is `localhost`.
fn split_registry(path: &str) -> (&str, &str) {
    match path.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, path),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if rest.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    host.is_none_or(|host| host.split('.').all(is_host_label))
        && port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        })
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_tag(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_TAG
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// A path component: runs of lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte));
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes
            .split(|byte| alphanumeric(*byte))
            .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|b| *b == b'-'))
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn short_names_get_dockers_defaults() {
        for (short, long) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("127.0.0.1:5000/library/nginx:1", "127.0.0.1:5000/library/nginx:1"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("ghcr.io/a/b/c__d-e---f.g", "ghcr.io/a/b/c__d-e---f.g:latest"),
            ("Registry/app", "Registry/app:latest"),
        ] {
            assert_eq!(full(short), long);
        }
        assert_eq!(full(&format!("a@sha256:{HEX}")), format!("docker.io/library/a@sha256:{HEX}"));
        assert_eq!(
            full(&format!("a:1@sha256:{HEX}")),
            format!("docker.io/library/a:1@sha256:{HEX}")
        );
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let reference: Reference = format!("a:1@sha256:{HEX}").parse().unwrap();
        assert_eq!(reference.version(), format!("sha256:{HEX}"));
        assert_eq!("a:1".parse::<Reference>().unwrap().version(), "1");
    }

    #[test]
    fn the_familiar_form_drops_only_defaults() {
        for (text, familiar) in [
            ("nginx", "nginx:latest"),
            ("docker.io/a/b:1", "a/b:1"),
            ("localhost/library/x", "localhost/library/x:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in [
            "",
            ":",
            "a:",
            ":a",
            "@",
            "a@",
            "/a",
            "a/",
            "a//b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a b",
            "ä",
            "a:-b",
            "a:b:c",
            "../a",
            "a/../b",
            "http://a/b",
            "[::1/a",
            "[::1]x/a",
            "[zz]:1/a",
            "a.b:99999/c",
            "a.b:/c",
            "-a.b/c",
            "a:b/c",
            "a@sha256:00",
            "a@md5:00",
            HEX,
        ] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(&format!("image name {bad:?}")), "{error}");
        }
        let long = "a".repeat(256);
        assert!(matches!(long.parse::<Reference>(), Err(ReferenceError::Long)));
        assert!(matches!("Nginx".parse::<Reference>(), Err(ReferenceError::Capitals(_))));
    }

    proptest! {
        #[test]
        fn any_valid_name_survives_its_own_display(
            registry in "([a-z0-9]{1,8}\\.[a-z]{2,4}(:[1-9][0-9]{0,3})?/)?",
            repository in "[a-z0-9]{1,9}((_|__|-{1,3})[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}\\.[a-z0-9]{1,5})?(/[a-z0-9]{1,9}){0,2}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?",
            digest in proptest::bool::ANY,
        ) {
            let digest = if digest { format!("@sha256:{HEX}") } else { String::new() };
            let text = format!("{registry}{repository}{tag}{digest}");
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
        }

        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_is_stable(text in "\\PC{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
