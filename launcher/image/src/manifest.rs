//! Manifests and indexes, OCI's and Docker's, which have the same shape.

use crate::digest::Digest;
use crate::failure::{Failure, FailureKind};
use crate::json::{Fields, Json, JsonError};
use crate::limits::LimitError;
use crate::platform::{Fit, Platform};

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
/// The annotation by which BuildKit tells attestations from images.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// What is wrong with a manifest, an index or what they point to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the {what} of {image} is not valid")]
    Json { what: &'static str, image: String, source: JsonError },
    #[error("the manifest of {image} is not valid: {cause}")]
    Entry { image: String, cause: String },
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
    #[error("layer {layer} of {image} may not be distributed ({media_type:?}) and is not there")]
    Foreign { image: String, layer: usize, media_type: String },
    #[error("{image} is for {there}; this machine runs {wanted}")]
    Platform { image: String, there: String, wanted: String },
    #[error("{image} has {layers} layers, but its config has {diff_ids} diff IDs")]
    DiffIds { image: String, layers: usize, diff_ids: usize },
    #[error("{image} has {layers} layers")]
    Layers { image: String, layers: usize, source: LimitError },
    #[error("the config of {image} is longer than {MAX_CONFIG_BYTES} bytes")]
    LongConfig { image: String },
    #[error("the config of {image} has digest {found}, not {wanted}")]
    ConfigDigest { image: String, found: Digest, wanted: Digest },
    #[error("the indexes of {image} are nested more than {MAX_NESTING} deep")]
    Nested { image: String },
}

/// How many indexes may point to one another.
pub(crate) const MAX_NESTING: usize = 4;

/// Points to a blob.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    media_type: String,
    pub(crate) digest: Digest,
    /// 0: the manifest does not say it.
    pub(crate) size: u64,
}

/// An image, an index or something else that an index has.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The names it has in an OCI layout.
    pub(crate) names: Vec<String>,
    platform: Platform,
    kind: EntryKind,
    /// What is wrong with an entry matters only if that entry is wanted.
    target: Result<Descriptor, JsonError>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EntryKind {
    Image,
    /// A signature, a chart, or what nobody knows.
    Artifact,
    /// Build attestations stand in the index beside images and are none.
    Attestation,
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
    Index(Vec<Entry>),
}

/// Parses a manifest or an index; `image` is for messages.
pub(crate) fn parse(json: &[u8], image: &str) -> Result<Parsed, ManifestError> {
    let error = |source| ManifestError::Json { what: "manifest", image: image.to_owned(), source };
    let json = Json::parse(json).map_err(error)?;
    let fields = Fields::of(&json, "").map_err(error)?;
    let old = fields.get("fsLayers").is_some();
    if old || matches!(fields.integer("schemaVersion"), Ok(Some(1))) {
        return Err(ManifestError::Schema1 { image: image.to_owned() });
    }
    let manifests = fields.list("manifests").map_err(error)?;
    let layers = fields.list("layers").map_err(error)?;
    // One that can be read both ways would be another image to other engines.
    match (fields.get("config").is_some(), !layers.is_empty(), fields.has("manifests")) {
        (true, ..) if manifests.is_empty() => {
            let descriptor = |(path, json): &(String, &Json)| Descriptor::of(json, path);
            let config = fields.object("config").and_then(|config| Descriptor::of_fields(&config));
            let layers = layers.iter().map(descriptor).collect::<Result<_, _>>();
            let manifest =
                Manifest { config: config.map_err(error)?, layers: layers.map_err(error)? };
            manifest.check(image)?;
            Ok(Parsed::Manifest(manifest))
        }
        (false, false, true) => {
            Ok(Parsed::Index(manifests.iter().map(|(path, json)| Entry::of(json, path)).collect()))
        }
        (false, _, false) => Err(ManifestError::MediaType {
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
        let wrong = |what: String, descriptor: &Descriptor| ManifestError::MediaType {
            image: image.to_owned(),
            what,
            media_type: shortened(&descriptor.media_type),
        };
        if !is_config(&self.config.media_type) {
            return Err(wrong("its config".to_owned(), &self.config));
        }
        match (1..).zip(&self.layers).find(|(_, layer)| !is_layer(&layer.media_type)) {
            Some((number, layer)) => Err(wrong(format!("layer {number}"), layer)),
            None => Ok(()),
        }
    }
}

/// Old versions of Docker and registries gave configs and layers types that say nothing, such as `text/html` or none.
/// What the content is shows in it; only a type that is another thing's own name is believed.
fn says_nothing(media_type: &str) -> bool {
    !media_type.starts_with("application/vnd.")
}

fn is_config(media_type: &str) -> bool {
    const CONFIGS: [&str; 2] = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    ];
    CONFIGS.contains(&media_type) || says_nothing(media_type)
}

/// How a layer is compressed is seen in its first bytes; other suffixes mean encryption.
fn is_layer(media_type: &str) -> bool {
    let oci = media_type.strip_prefix("application/vnd.oci.image.layer.");
    let oci = oci.map(|rest| rest.strip_prefix("nondistributable.").unwrap_or(rest));
    let docker = media_type.strip_prefix("application/vnd.docker.image.rootfs.");
    let docker = docker.map(|rest| rest.strip_prefix("foreign.").unwrap_or(rest));
    let rest = oci.and_then(|rest| rest.strip_prefix("v1.tar"));
    let rest = rest.or_else(|| docker.and_then(|rest| rest.strip_prefix("diff.tar")));
    match rest {
        Some(rest) => !rest.contains("encrypted"),
        None => says_nothing(media_type),
    }
}

impl Descriptor {
    fn of(json: &Json, path: &str) -> Result<Self, JsonError> {
        Self::of_fields(&Fields::of(json, path)?)
    }

    fn of_fields(fields: &Fields<'_>) -> Result<Self, JsonError> {
        Ok(Self {
            media_type: media_type(fields),
            digest: fields.digest("digest")?,
            size: fields.size("size")?,
        })
    }

    /// Whether it may be missing in a registry: a layer that only its maker may give out.
    pub(crate) fn is_foreign(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }

    pub(crate) fn media_type(&self) -> String {
        shortened(&self.media_type)
    }
}

/// Without case and parameters, which mean nothing; empty where there is none.
fn media_type(fields: &Fields<'_>) -> String {
    let text = fields.text("mediaType").unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl Entry {
    fn of(json: &Json, path: &str) -> Self {
        let (fields, broken) = match Fields::of(json, path) {
            Ok(fields) => (fields, None),
            Err(error) => (Fields::default(), Some(error)),
        };
        let platform = fields.object("platform").and_then(|platform| Platform::of(&platform));
        let (platform, broken) = match platform {
            Ok(platform) => (platform, broken),
            Err(error) => (Platform::default(), broken.or(Some(error))),
        };
        let annotations = fields.object("annotations").unwrap_or_default();
        let annotation = |key| annotations.text(key).unwrap_or_default();
        let names = [REF_NAME, FULL_NAME].map(annotation).into_iter();
        let kind = match (platform.os.as_str(), annotation(REFERENCE_TYPE)) {
            ("unknown", _) | (_, "attestation-manifest") => EntryKind::Attestation,
            _ if fields.get("artifactType").is_some() => EntryKind::Artifact,
            _ => match media_type(&fields).as_str() {
                kind if ACCEPTED.contains(kind) || says_nothing(kind) => EntryKind::Image,
                _ => EntryKind::Artifact,
            },
        };
        Self {
            names: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            platform,
            kind,
            target: broken.map_or_else(|| Descriptor::of_fields(&fields), Err),
        }
    }

    /// What it points to; `image` is for messages.
    pub(crate) fn target(&self, image: &str) -> Result<&Descriptor, ManifestError> {
        let error = |error: &JsonError| ManifestError::Entry {
            image: image.to_owned(),
            cause: match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        };
        self.target.as_ref().map_err(error)
    }

    /// Its digest, where it has one.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.target.as_ref().ok().map(|target| target.digest)
    }

    /// Whether its config has to show what machine it is for.
    pub(crate) fn is_unsaid(&self) -> bool {
        self.platform.fit() == Some(Fit::Unsaid)
    }
}

/// The entries of an index that may be this machine's image, the best first.
pub(crate) fn candidates<'a>(
    index: impl IntoIterator<Item = &'a Entry>,
    image: &str,
) -> Result<Vec<&'a Entry>, ManifestError> {
    let index: Vec<&Entry> =
        index.into_iter().filter(|entry| entry.kind != EntryKind::Attestation).collect();
    let fitting =
        index.iter().filter_map(|entry| Some(((&entry.kind, entry.platform.fit()?), *entry)));
    let mut fitting: Vec<_> = fitting.collect();
    fitting.sort_by(|(a, _), (b, _)| a.cmp(b));
    if !fitting.is_empty() {
        return Ok(fitting.into_iter().map(|(_, entry)| entry).collect());
    }
    let mut there: Vec<String> = index.iter().map(|entry| entry.platform.to_string()).collect();
    there.sort();
    there.dedup();
    let there = if there.is_empty() { "no platform at all".to_owned() } else { there.join(", ") };
    Err(other_platform(image, &shortened(&there)))
}

/// The error for an image of another platform.
pub(crate) fn other_platform(image: &str, there: &str) -> ManifestError {
    ManifestError::Platform {
        image: image.to_owned(),
        there: there.to_owned(),
        wanted: Platform::machine().to_string(),
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
mod tests;
