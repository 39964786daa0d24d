//! From a manifest or an index down to config and layers, the same for registries and layouts.

use crate::{
    config::Config,
    digest::Digest,
    failure::{Failure, FailureKind},
    limits::{LimitError, Limits},
    manifest::{
        self, Descriptor, Entry, MAX_CONFIG_BYTES, MAX_NESTING, Manifest, ManifestError, Parsed,
    },
    platform::Platform,
};
use std::io::Read;

/// Something that has an image's parts by digest.
pub(crate) trait Blobs: Send + Sync {
    /// A manifest or index; its digest has been checked.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure>;
    /// A config or layer; digest and size are the caller's to check. `part` is its name for messages.
    fn blob(&self, descriptor: &Descriptor, part: &str) -> Result<Box<dyn Read + Send>, Failure>;
    /// Where parts come from, for messages, if there is more to say than the image's name.
    fn source(&self) -> Option<String> {
        None
    }
    /// After a part with a wrong digest: does without the place it came from, if there is another one.
    fn avoid_source(&self) -> bool {
        false
    }
}

/// What [`crate::layers::convert`] works through.
pub(crate) struct Plan<'a> {
    /// The image's config as it is stored; `None`: it has none.
    pub(crate) config: Option<String>,
    pub(crate) layers: Vec<Layer<'a>>,
}

/// One layer, not yet opened.
pub(crate) struct Layer<'a> {
    /// Size as stored; `None`: not known.
    pub(crate) bytes: Option<u64>,
    /// Digest as stored.
    pub(crate) digest: Option<Digest>,
    /// Digest of the tar in it.
    pub(crate) diff_id: Option<Digest>,
    pub(crate) open: Open<'a>,
}

/// Opens a layer for reading, once.
pub(crate) type Open<'a> = Box<dyn FnOnce() -> Result<Box<dyn Read + Send>, Failure> + Send + 'a>;

/// How many manifests and indexes are read in search of the one for this machine.
const MAX_DOCUMENTS: u32 = 32;

/// The manifest for this machine, and the documents that led there: `top`, then each index's
/// choice, the manifest last.
pub(crate) fn resolve(
    blobs: &dyn Blobs,
    top: Vec<u8>,
    image: &str,
) -> Result<(Vec<String>, Manifest), Failure> {
    let mut search = Search { blobs, image, read: 0 };
    let (mut documents, manifest) = search.descend(top, MAX_NESTING, false)?;
    documents.reverse();
    Ok((documents, manifest))
}

/// The manifest or index of the one of `entries` that is for this machine; they are one image for several platforms.
pub(crate) fn choose<'e>(
    blobs: &dyn Blobs,
    entries: impl IntoIterator<Item = &'e Entry>,
    image: &str,
) -> Result<Vec<u8>, Failure> {
    let candidates = manifest::candidates(entries, image)?;
    match candidates.first() {
        Some(best) if !best.is_unsaid() => blobs.manifest(best.target(image)?),
        _ => Ok(Search { blobs, image, read: 0 }.among(&candidates, MAX_NESTING, false)?.0),
    }
}

struct Search<'a> {
    blobs: &'a dyn Blobs,
    image: &'a str,
    read: u32,
}

impl Search<'_> {
    /// Goes down from the document `json`; the documents come back from the manifest upwards. With `check` the
    /// config has to be for this machine.
    fn descend(
        &mut self,
        json: Vec<u8>,
        levels: usize,
        check: bool,
    ) -> Result<(Vec<String>, Manifest), Failure> {
        let image = self.image;
        let Some(levels) = levels.checked_sub(1) else {
            return Err(ManifestError::Nested { image: image.to_owned() }.into());
        };
        let (mut documents, manifest) = match manifest::parse(&json, image)? {
            Parsed::Manifest(manifest) => {
                if check {
                    parse_config(&read_config(self.blobs, &manifest.config, image)?, image)?;
                }
                (Vec::new(), manifest)
            }
            Parsed::Index(index) => {
                let candidates = manifest::candidates(&index, image)?;
                let (_, documents, manifest) = self.among(&candidates, levels, check)?;
                (documents, manifest)
            }
        };
        documents.push(text(json, "manifest", image)?);
        Ok((documents, manifest))
    }

    /// The first of `candidates` that is for this machine: its document, and what [`Self::descend`] gives for it.
    /// With `check`, also the config of an only one has to say so.
    fn among(
        &mut self,
        candidates: &[&Entry],
        levels: usize,
        check: bool,
    ) -> Result<(Vec<u8>, Vec<String>, Manifest), Failure> {
        let check = check || candidates.len() > 1;
        let mut first = None;
        for entry in candidates {
            let failure = match self.try_entry(entry, levels, check) {
                // One that does not say what it is for may be anything.
                Err(failure) if entry.is_unsaid() && is_of_its_own(failure.kind) => failure,
                found => return found,
            };
            first.get_or_insert(failure);
            if self.read >= MAX_DOCUMENTS {
                break;
            }
        }
        Err(first.unwrap_or_else(|| manifest::other_platform(self.image, "no platform").into()))
    }

    fn try_entry(
        &mut self,
        entry: &Entry,
        levels: usize,
        check: bool,
    ) -> Result<(Vec<u8>, Vec<String>, Manifest), Failure> {
        let target = entry.target(self.image)?;
        self.read += 1;
        let json = self.blobs.manifest(target)?;
        let (documents, manifest) =
            self.descend(json.clone(), levels, check && entry.is_unsaid())?;
        Ok((json, documents, manifest))
    }
}

/// Whether a failure is the fault of one entry of an index, so that another may do.
fn is_of_its_own(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Platform | FailureKind::NotFound | FailureKind::Image)
}

/// Reads the config and lays out the layers.
pub(crate) fn plan<'a>(
    blobs: &'a dyn Blobs,
    manifest: Manifest,
    image: &str,
    limits: &Limits,
) -> Result<Plan<'a>, Failure> {
    let json = read_config(blobs, &manifest.config, image)?;
    let (_, diff_ids) = parse_config(&json, image)?;
    check_count(image, manifest.layers.len(), diff_ids.len(), limits)?;
    let layer = |(number, (descriptor, diff_id)): (usize, (Descriptor, Digest))| Layer {
        bytes: Some(descriptor.size).filter(|bytes| *bytes > 0),
        digest: Some(descriptor.digest),
        diff_id: Some(diff_id),
        open: {
            let image = image.to_owned();
            Box::new(move || open_layer(blobs, &descriptor, image, number))
        },
    };
    let layers = (1..).zip(manifest.layers.into_iter().zip(diff_ids)).map(layer).collect();
    Ok(Plan { config: Some(text(json, "config", image)?), layers })
}

fn open_layer(
    blobs: &dyn Blobs,
    descriptor: &Descriptor,
    image: String,
    layer: usize,
) -> Result<Box<dyn Read + Send>, Failure> {
    match blobs.blob(descriptor, &format!("layer {layer}")) {
        Err(failure) if failure.kind == FailureKind::NotFound && descriptor.is_foreign() => {
            let media_type = descriptor.media_type();
            Err(ManifestError::Foreign { image, layer, media_type }.into())
        }
        opened => opened,
    }
}

/// A JSON document as the text that it has to be.
pub(crate) fn text(
    json: Vec<u8>,
    what: &'static str,
    image: &str,
) -> Result<String, ManifestError> {
    String::from_utf8(json).map_err(|_| ManifestError::NotText { what, image: image.to_owned() })
}

/// There are no more layers than allowed, and each has one diff ID, in the same order.
pub(crate) fn check_count(
    image: &str,
    layers: usize,
    diff_ids: usize,
    limits: &Limits,
) -> Result<(), ManifestError> {
    LimitError::check("max_layers", layers as u64, limits.max_layers.into())
        .map_err(|source| ManifestError::Layers { image: image.to_owned(), layers, source })?;
    if layers == diff_ids {
        return Ok(());
    }
    Err(ManifestError::DiffIds { image: image.to_owned(), layers, diff_ids })
}

/// An image config and its diff IDs; it has to be for this machine.
pub(crate) fn parse_config(
    json: &[u8],
    image: &str,
) -> Result<(Config, Vec<Digest>), ManifestError> {
    let error = |source| ManifestError::Json { what: "config", image: image.to_owned(), source };
    let (config, diff_ids) = Config::parse(json).map_err(error)?;
    let platform = Platform::named(config.os.raw(), config.architecture.raw(), "");
    if platform.fit().is_none() {
        let there = platform.to_string();
        return Err(manifest::other_platform(image, &there.chars().take(80).collect::<String>()));
    }
    Ok((config, diff_ids))
}

fn read_config(
    blobs: &dyn Blobs,
    descriptor: &Descriptor,
    image: &str,
) -> Result<Vec<u8>, Failure> {
    if descriptor.size > MAX_CONFIG_BYTES {
        return Err(ManifestError::LongConfig { image: image.to_owned() }.into());
    }
    let mut json = Vec::new();
    blobs
        .blob(descriptor, "the config")?
        .take(if descriptor.size == 0 { MAX_CONFIG_BYTES } else { descriptor.size + 1 })
        .read_to_end(&mut json)
        .map_err(|error| Failure::from_io(error, &format!("read the config of {image}")))?;
    if Digest::of(&json) != descriptor.digest {
        let (image, wanted) = (image.to_owned(), descriptor.digest);
        return Err(ManifestError::ConfigDigest { image, found: Digest::of(&json), wanted }.into());
    }
    Ok(json)
}
