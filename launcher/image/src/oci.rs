//! From a manifest or an index down to config and layers, the same for registries and layouts.

use crate::{
    config::{Config, Stored},
    digest::Digest,
    failure::Failure,
    manifest::{self, Descriptor, MAX_CONFIG_BYTES, MAX_NESTING, Manifest, ManifestError, Parsed},
};
use std::io::Read;

/// Something that has an image's parts by digest.
pub(crate) trait Blobs: Send + Sync {
    /// A manifest or index; its digest has been checked.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure>;
    /// A config or layer; digest and size are the caller's to check.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, Failure>;
}

/// What [`crate::layers::convert`] works through.
pub(crate) struct Plan<'a> {
    pub(crate) config: Config,
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

/// The manifest for this machine, and its digest.
pub(crate) fn resolve(
    blobs: &dyn Blobs,
    top: Vec<u8>,
    image: &str,
) -> Result<(Digest, Manifest), Failure> {
    let mut json = top;
    for _ in 0..MAX_NESTING {
        match manifest::parse(&json, image)? {
            Parsed::Manifest(manifest) => return Ok((Digest::of(&json), manifest)),
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
) -> Result<Plan<'a>, Failure> {
    let json = read_config(blobs, &manifest.config, image)?;
    let (config, diff_ids) = parse_config(&json, image)?;
    check_count(image, manifest.layers.len(), diff_ids.len())?;
    let layer = |(descriptor, diff_id): (Descriptor, Digest)| Layer {
        bytes: Some(descriptor.size),
        digest: Some(descriptor.digest),
        diff_id: Some(diff_id),
        open: Box::new(move || blobs.blob(&descriptor)),
    };
    let layers = manifest.layers.into_iter().zip(diff_ids).map(layer).collect();
    Ok(Plan { config, layers })
}

/// One layer has one diff ID, in the same order.
pub(crate) fn check_count(
    image: &str,
    layers: usize,
    diff_ids: usize,
) -> Result<(), ManifestError> {
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
        .blob(descriptor)?
        .take(descriptor.size.saturating_add(1))
        .read_to_end(&mut json)
        .map_err(|error| Failure::from_io(error, &format!("read the config of {image}")))?;
    if Digest::of(&json) != descriptor.digest {
        let (image, wanted) = (image.to_owned(), descriptor.digest);
        return Err(ManifestError::ConfigDigest { image, found: Digest::of(&json), wanted }.into());
    }
    Ok(json)
}
