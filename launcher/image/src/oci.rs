//! From a manifest or an index down to config and layers, the same for registries and layouts.

use crate::{
    config::{Config, Stored},
    digest::Digest,
    failure::Failure,
    limits::{LimitError, Limits},
    manifest::{self, Descriptor, MAX_CONFIG_BYTES, MAX_NESTING, Manifest, ManifestError, Parsed},
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

/// The manifest for this machine, and the documents that led there: `top`, then each index's
/// choice, the manifest last.
pub(crate) fn resolve(
    blobs: &dyn Blobs,
    top: Vec<u8>,
    image: &str,
) -> Result<(Vec<String>, Manifest), Failure> {
    let mut json = top;
    let mut documents = Vec::new();
    for _ in 0..MAX_NESTING {
        let parsed = manifest::parse(&json, image)?;
        documents.push(text(json, "manifest", image)?);
        match parsed {
            Parsed::Manifest(manifest) => return Ok((documents, manifest)),
            Parsed::Index(index) => json = blobs.manifest(&manifest::select(&index, image)?)?,
        }
    }
    Err(ManifestError::Nested { image: image.to_owned() }.into())
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
        bytes: Some(descriptor.size),
        digest: Some(descriptor.digest),
        diff_id: Some(diff_id),
        open: Box::new(move || blobs.blob(&descriptor, &format!("layer {number}"))),
    };
    let layers = (1..).zip(manifest.layers.into_iter().zip(diff_ids)).map(layer).collect();
    Ok(Plan { config: Some(text(json, "config", image)?), layers })
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
    let stored: Stored = serde_json::from_slice(json).map_err(error)?;
    let diff_ids: Vec<Digest> = stored
        .rootfs
        .diff_ids
        .iter()
        .map(|diff_id| diff_id.parse())
        .collect::<Result<_, _>>()
        .map_err(|source| ManifestError::DiffId { image: image.to_owned(), source })?;
    let config = Config::from(stored);
    let (os, architecture) = manifest::machine();
    if (config.os.raw(), config.architecture.raw()) != (os, architecture) {
        let there = format!("{}/{}", config.os, config.architecture);
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
        .take(descriptor.size.saturating_add(1))
        .read_to_end(&mut json)
        .map_err(|error| Failure::from_io(error, &format!("read the config of {image}")))?;
    if Digest::of(&json) != descriptor.digest {
        let (image, wanted) = (image.to_owned(), descriptor.digest);
        return Err(ManifestError::ConfigDigest { image, found: Digest::of(&json), wanted }.into());
    }
    Ok(json)
}
