//! Manifests and indexes, OCI's and Docker's, which have the same shape.

use crate::digest::{Digest, DigestError};
use crate::failure::{Failure, FailureKind};
use crate::limits::LimitError;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest manifest or index taken, as containerd has it.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// Longest image config taken.
pub(crate) const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// What a registry is asked for.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The annotation that tags an image in an OCI layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and Docker put the whole name.
const FULL_NAME: &str = "io.containerd.image.name";

/// What is wrong with a manifest, an index or what they point to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the {what} of {image} is not valid")]
    Json { what: &'static str, image: String, source: serde_json::Error },
    #[error("the {what} of {image} is not valid: it is not UTF-8")]
    NotText { what: &'static str, image: String },
    #[error(
        "{image} has a manifest of Docker's schema 1, which no registry takes any more; \
         push it again with a current Docker"
    )]
    Schema1 { image: String },
    #[error("the manifest of {image} is both an index and a manifest")]
    Both { image: String },
    #[error("{image} is not an image that can run: {what} has the media type {media_type:?}")]
    MediaType { image: String, what: String, media_type: String },
    #[error(
        "layer {layer} of {image} may not be distributed ({media_type:?}) and is not in the registry"
    )]
    Foreign { image: String, layer: usize, media_type: String },
    #[error("{image} is for {there}; this machine runs {wanted}")]
    Platform { image: String, there: String, wanted: String },
    #[error("{image} has {layers} layers, but its config has {diff_ids} diff IDs")]
    DiffIds { image: String, layers: usize, diff_ids: usize },
    #[error("{image} has {layers} layers")]
    Layers { image: String, layers: usize, source: LimitError },
    #[error("a diff ID of {image} is not valid")]
    DiffId { image: String, source: DigestError },
    #[error("the config of {image} is longer than {MAX_CONFIG_BYTES} bytes")]
    LongConfig { image: String },
    #[error("the config of {image} has digest {found}, not {wanted}")]
    ConfigDigest { image: String, found: Digest, wanted: Digest },
    #[error("the indexes of {image} are nested more than {MAX_NESTING} deep")]
    Nested { image: String },
}

/// How many indexes may point to one another.
pub(crate) const MAX_NESTING: usize = 4;

/// A manifest or an index, told apart by what is in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Points to a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    platform: Option<Platform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Platform {
    architecture: String,
    os: String,
    variant: Option<String>,
}

/// One image for one platform.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Debug)]
pub(crate) enum Parsed {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

/// Parses a manifest or an index; `image` is for messages.
pub(crate) fn parse(json: &[u8], image: &str) -> Result<Parsed, ManifestError> {
    let document: Document = serde_json::from_slice(json).map_err(|source| {
        ManifestError::Json { what: "manifest", image: image.to_owned(), source }
    })?;
    if document.schema_version == 1 || document.fs_layers.is_some() {
        return Err(ManifestError::Schema1 { image: image.to_owned() });
    }
    // One that can be read both ways would be another image to other engines.
    match (document.config, document.layers, document.manifests) {
        (Some(config), layers, None) => {
            let manifest = Manifest { config, layers: layers.unwrap_or_default() };
            manifest.check(image)?;
            Ok(Parsed::Manifest(manifest))
        }
        (None, None, Some(manifests)) => Ok(Parsed::Index(manifests)),
        (None, _, None) => Err(ManifestError::MediaType {
            image: image.to_owned(),
            what: "its manifest".to_owned(),
            media_type: "neither an index nor a manifest".to_owned(),
        }),
        _ => Err(ManifestError::Both { image: image.to_owned() }),
    }
}

impl Manifest {
    /// Whether config and layers are of kinds that make an image.
    fn check(&self, image: &str) -> Result<(), ManifestError> {
        const CONFIGS: &[&str] = &[
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
            "application/octet-stream",
        ];
        let media_type = |what: String, descriptor: &Descriptor| ManifestError::MediaType {
            image: image.to_owned(),
            what,
            media_type: shortened(&descriptor.media_type),
        };
        if !CONFIGS.contains(&self.config.media_type.as_str()) {
            return Err(media_type("its config".to_owned(), &self.config));
        }
        for (number, layer) in (1..).zip(&self.layers) {
            let kind = layer.media_type.as_str();
            if kind.contains(".nondistributable.") || kind.contains(".foreign.") {
                return Err(ManifestError::Foreign {
                    image: image.to_owned(),
                    layer: number,
                    media_type: shortened(kind),
                });
            }
            let rest = kind
                .strip_prefix("application/vnd.oci.image.layer.v1.tar")
                .or_else(|| kind.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"));
            // How it is compressed is seen in its first bytes; other suffixes mean encryption.
            if !matches!(rest, Some("" | "+gzip" | "+zstd" | ".gzip" | ".zstd")) {
                return Err(media_type(format!("layer {number}"), layer));
            }
        }
        Ok(())
    }
}

impl Descriptor {
    /// The names this has in an OCI layout.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let annotations = self.annotations.iter();
        annotations
            .flat_map(|all| [REF_NAME, FULL_NAME].map(|key| all.get(key)))
            .flatten()
            .map(String::as_str)
    }

    /// Build attestations stand in the index beside images and are none.
    fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}

/// This machine's platform by its Go names, e.g. `linux` and `amd64`.
pub(crate) fn machine() -> (&'static str, &'static str) {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    ("linux", architecture)
}

/// Picks this machine's image out of an index.
pub(crate) fn select(index: &[Descriptor], image: &str) -> Result<Descriptor, ManifestError> {
    let (os, architecture) = machine();
    // Lower is better: the plain architecture, then a variant (the lowest comes first), then an
    // entry that says nothing, whose config is looked at later.
    let rank = |descriptor: &Descriptor| match &descriptor.platform {
        None => Some((2, String::new())),
        Some(platform) if platform.os == os && platform.architecture == architecture => {
            let variant = platform.variant.clone().unwrap_or_default();
            Some((usize::from(!variant.is_empty()), variant))
        }
        Some(_) => None,
    };
    let best = index.iter().filter_map(|descriptor| Some((rank(descriptor)?, descriptor)));
    if let Some((_, best)) = best.min_by(|(a, _), (b, _)| a.cmp(b)) {
        return Ok(best.clone());
    }
    let mut there: Vec<String> = index
        .iter()
        .filter(|descriptor| !descriptor.is_attestation())
        .filter_map(|descriptor| descriptor.platform.as_ref().map(Platform::show))
        .collect();
    there.sort();
    there.dedup();
    let there = if there.is_empty() { "no platform at all".to_owned() } else { there.join(", ") };
    Err(other_platform(image, &shortened(&there)))
}

/// The error for an image of another platform.
pub(crate) fn other_platform(image: &str, there: &str) -> ManifestError {
    let (os, architecture) = machine();
    ManifestError::Platform {
        image: image.to_owned(),
        there: there.to_owned(),
        wanted: format!("{os}/{architecture}"),
    }
}

impl Platform {
    fn show(&self) -> String {
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{}/{}{variant}", self.os, self.architecture)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        let kind = match error {
            ManifestError::Platform { .. } => FailureKind::Platform,
            ManifestError::ConfigDigest { .. } => FailureKind::Mismatch,
            _ => FailureKind::Image,
        };
        Self::new(kind, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, more: &str) -> String {
        let digest = Digest::of(b"");
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1{more}}}"#)
    }

    fn platform(os: &str, architecture: &str, variant: &str) -> String {
        let platform = format!(
            r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#
        );
        descriptor("application/vnd.oci.image.manifest.v1+json", &platform)
    }

    fn pick(entries: &[String]) -> Result<Descriptor, ManifestError> {
        let json = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        match parse(json.as_bytes(), "x").unwrap() {
            Parsed::Index(index) => select(&index, "x"),
            Parsed::Manifest(_) => panic!("taken for a manifest"),
        }
    }

    fn manifest(config: &str, layer: &str) -> Result<Parsed, ManifestError> {
        let (config, layer) = (descriptor(config, ""), descriptor(layer, ""));
        let json = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
        parse(json.as_bytes(), "x")
    }

    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

    #[test]
    fn the_plain_architecture_is_preferred_and_attestations_are_no_images() {
        let (_, here) = machine();
        let picked = pick(&[
            platform("unknown", "unknown", ""),
            platform("linux", here, "v3"),
            platform("linux", here, "v2"),
            platform("linux", here, ""),
        ]);
        assert_eq!(picked.unwrap().platform.unwrap().variant.as_deref(), Some(""));
        let picked = pick(&[platform("linux", here, "v3"), platform("linux", here, "v2")]);
        assert_eq!(picked.unwrap().platform.unwrap().variant.as_deref(), Some("v2"));
    }

    #[test]
    fn an_image_for_other_machines_lists_them() {
        let error = pick(&[
            platform("linux", "s390x", ""),
            platform("linux", "arm", "v7"),
            platform("unknown", "unknown", ""),
        ]);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("x is for linux/arm/v7, linux/s390x; this machine"), "{error}");
    }

    #[test]
    fn docker_and_oci_layers_are_taken_and_others_are_named() {
        for good in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ] {
            manifest(CONFIG, good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        manifest(
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        )
        .unwrap();
        let foreign = manifest(CONFIG, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert!(matches!(foreign, Err(ManifestError::Foreign { layer: 1, .. })));
        for bad in ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "text/plain"] {
            assert!(matches!(manifest(CONFIG, bad), Err(ManifestError::MediaType { .. })), "{bad}");
        }
        let chart = manifest("application/vnd.cncf.helm.config.v1+json", "text/plain");
        assert!(matches!(chart, Err(ManifestError::MediaType { .. })));
    }

    #[test]
    fn old_ambiguous_and_broken_manifests_are_refused() {
        let one = r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#;
        assert!(matches!(parse(one.as_bytes(), "x"), Err(ManifestError::Schema1 { .. })));
        let config = descriptor(CONFIG, "");
        let both = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#);
        assert!(matches!(parse(both.as_bytes(), "x"), Err(ManifestError::Both { .. })));
        assert!(matches!(parse(b"[]", "x"), Err(ManifestError::Json { .. })));
        let bad = br#"{"schemaVersion":2,"manifests":[{"digest":"md5:0","size":1}]}"#;
        assert!(matches!(parse(bad, "x"), Err(ManifestError::Json { .. })));
    }
}
