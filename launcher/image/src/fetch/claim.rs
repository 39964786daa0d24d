//! Checks what the child says an image is against what was asked for.
//!
//! The launcher computes every digest itself, from documents that the child sends. A child in an
//! image's hands can still write what it likes to the disk that it was given, but not under the
//! digest of documents that it does not have, and not with another config than the manifest names.

use crate::{
    archive::rootfs_config,
    config::Config,
    digest::Digest,
    failure::Failure,
    host::Identity,
    manifest::{self, Entry, ManifestError, Parsed},
    oci::parse_config,
    source::Source,
};

/// An image as far as it is known before its layers are read.
#[derive(Debug)]
pub(super) enum Claim {
    /// It has a manifest, of this digest, which names the config of that digest.
    Manifest { digest: Digest, config: Digest },
    /// It has a config only.
    Config { digest: Digest, config: Box<Config> },
    /// It has neither.
    Contents,
}

impl Claim {
    /// Checks `identity`, as the child sent it for `source`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub(super) fn check(identity: Identity, source: &Source) -> Result<Self, String> {
        let name = source.to_string();
        match (identity, source) {
            (Identity::Manifests(documents), Source::Registry(reference)) => {
                manifests(&documents, reference.digest(), &name)
            }
            (
                Identity::Manifests(documents),
                Source::OciArchive { .. } | Source::OciLayout { .. } | Source::Dir(_),
            ) => manifests(&documents, None, &name),
            (Identity::Config(json), Source::DockerArchive { .. }) => {
                let (config, _) = parse_config(json.as_bytes(), &name).map_err(told)?;
                let digest = Digest::of(json.as_bytes());
                Ok(Self::Config { digest, config: Box::new(config) })
            }
            (Identity::Contents, Source::Rootfs(_)) => Ok(Self::Contents),
            _ => Err("it sent documents of another kind of source".to_owned()),
        }
    }

    /// The image's digest; `None`: only known when the disk is finished.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Manifest { digest, .. } | Self::Config { digest, .. } => Some(*digest),
            Self::Contents => None,
        }
    }

    /// The image's config, given the one that the child sent with the finished disk.
    ///
    /// # Errors
    /// It is not the one that the image's manifest names.
    pub(super) fn config(self, sent: Option<String>, name: &str) -> Result<Config, String> {
        match self {
            Self::Manifest { config, .. } => {
                let json = sent.ok_or("it sent no config")?;
                let found = Digest::of(json.as_bytes());
                if found != config {
                    return Err(format!("it sent a config of digest {found}, not {config}"));
                }
                let parsed = parse_config(json.as_bytes(), name);
                Ok(parsed.map_err(told)?.0)
            }
            Self::Config { config, .. } => Ok(*config),
            Self::Contents => Ok(rootfs_config()),
        }
    }
}

/// Follows the documents from the first, which is `asked` for if that is given, to the manifest.
fn manifests(documents: &[String], asked: Option<&Digest>, name: &str) -> Result<Claim, String> {
    let mut asked = asked.map(|asked| vec![*asked]);
    for json in documents {
        let found = Digest::of(json.as_bytes());
        if asked.is_some_and(|asked| !asked.contains(&found)) {
            return Err(format!("it sent a manifest of digest {found}, which nothing names"));
        }
        match manifest::parse(json.as_bytes(), name).map_err(told)? {
            Parsed::Manifest(manifest) => {
                return Ok(Claim::Manifest { digest: found, config: manifest.config.digest });
            }
            Parsed::Index(index) => {
                asked = Some(index.iter().filter_map(Entry::digest).collect());
            }
        }
    }
    Err("it sent no manifest".to_owned())
}

/// The whole of an error, which may name the field at fault in its cause.
fn told(error: ManifestError) -> String {
    Failure::from(error).message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;

    fn manifest(config: &[u8]) -> String {
        let digest = Digest::of(config);
        format!(
            r#"{{"schemaVersion":2,"layers":[],"config":{{"digest":"{digest}","size":1,
            "mediaType":"application/vnd.oci.image.config.v1+json"}}}}"#
        )
    }

    fn index(of: &str) -> String {
        let digest = Digest::of(of.as_bytes());
        format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{digest}","size":1}}]}}"#)
    }

    fn config() -> String {
        let Platform { os, architecture, .. } = Platform::machine();
        format!(r#"{{"os":"{os}","architecture":"{architecture}","config":{{"Cmd":["/a"]}}}}"#)
    }

    fn check(documents: &[&str], source: &str) -> Result<Claim, String> {
        let documents = documents.iter().map(|&json| json.to_owned()).collect();
        Claim::check(Identity::Manifests(documents), &source.parse().unwrap())
    }

    #[test]
    fn an_images_digest_is_that_of_the_manifest_that_was_sent() {
        let manifest = manifest(config().as_bytes());
        let digest = Some(Digest::of(manifest.as_bytes()));
        assert_eq!(check(&[&manifest], "x").unwrap().digest(), digest);
        assert_eq!(check(&[&index(&manifest), &manifest], "x").unwrap().digest(), digest);
        assert_eq!(check(&[], "x").unwrap_err(), "it sent no manifest");
        assert_eq!(check(&[&index(&manifest)], "x").unwrap_err(), "it sent no manifest");
    }

    #[test]
    fn a_digest_that_was_asked_for_leads_to_its_own_manifest_only() {
        let (good, other) = (manifest(config().as_bytes()), manifest(b"other"));
        let index = index(&good);
        for asked in [&good, &index] {
            let source = format!("x@{}", Digest::of(asked.as_bytes()));
            for wrong in [vec![other.as_str()], vec![&index, &other]] {
                let error = check(&wrong, &source).unwrap_err();
                assert!(error.contains("which nothing names"), "{error}");
            }
        }
        let source = format!("x@{}", Digest::of(index.as_bytes()));
        check(&[&index, &good], &source).unwrap();
        let error = check(&[&good], &source).unwrap_err();
        assert!(error.contains("which nothing names"), "the index was left out: {error}");
    }

    #[test]
    fn a_config_is_taken_only_if_the_manifest_names_it() {
        let claim = || check(&[&manifest(config().as_bytes())], "x").unwrap();
        assert_eq!(claim().config(Some(config()), "x").unwrap().cmd, ["/a"]);
        let other = config().replace("/a", "/b");
        assert!(claim().config(Some(other), "x").unwrap_err().contains("config of digest"));
        assert!(claim().config(None, "x").unwrap_err().contains("config"));
    }

    #[test]
    fn each_kind_of_source_has_documents_of_its_own() {
        let wrong = [
            (Identity::Contents, "x"),
            (Identity::Config(config()), "x"),
            (Identity::Config(config()), "rootfs:/x"),
            (Identity::Manifests(vec![manifest(b"")]), "docker-archive:/x"),
            (Identity::Manifests(vec![manifest(b"")]), "rootfs:/x"),
        ];
        for (identity, source) in wrong {
            let claim = Claim::check(identity, &source.parse().unwrap());
            assert!(claim.unwrap_err().contains("another kind"), "{source}");
        }
        let right = Claim::check(Identity::Config(config()), &"docker-archive:/x".parse().unwrap());
        assert_eq!(right.unwrap().digest(), Some(Digest::of(config().as_bytes())));
    }
}
