//! Docker-archives, as `docker save` and `podman save` make them.

use super::{
    error::{ArchiveError, list_names},
    index::TarIndex,
    layout::read_small,
};
use crate::{
    failure::Failure,
    limits::Limits,
    manifest::{MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES},
    oci::{self, Layer, Plan},
    reference::Reference,
};
use serde::Deserialize;

const MANIFEST: &str = "manifest.json";

/// One image of a docker-archive.
///
/// It has no manifest of its own; its digest is that of its config, which holds the diff IDs of
/// all layers and is what Docker calls the image ID.
pub(crate) struct DockerArchive {
    files: TarIndex,
    image: Saved,
    config: String,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Saved {
    fn names(&self) -> Vec<String> {
        let tags = self.repo_tags.iter().flatten();
        tags.filter_map(|tag| Some(tag.parse::<Reference>().ok()?.to_string())).collect()
    }
}

impl DockerArchive {
    pub(crate) fn open(files: TarIndex, wanted: Option<&Reference>) -> Result<Self, Failure> {
        let archive = || files.name.clone();
        let (_, manifest) = files.open(MANIFEST).map_err(|_| ArchiveError::Kind {
            archive: archive(),
            kind: "a docker-archive",
            file: MANIFEST,
        })?;
        let json = read_small(manifest, MANIFEST, &files.name, MAX_MANIFEST_BYTES)?;
        let images: Vec<Saved> = serde_json::from_slice(&json)
            .map_err(|source| ArchiveError::Json { archive: archive(), file: MANIFEST, source })?;
        let names: Vec<String> = images.iter().flat_map(Saved::names).collect();
        let image = match (wanted, images.as_slice()) {
            (None, [only]) => Some(only.clone()),
            (None, [_, _, ..]) => {
                return Err(ArchiveError::Several {
                    archive: archive(),
                    example: format!("{}:{}", files.name, names.first().map_or("NAME", |n| n)),
                    names: names.join(", "),
                }
                .into());
            }
            (None, []) => None,
            (Some(wanted), all) => {
                let wanted = wanted.to_string();
                all.iter().find(|image| image.names().contains(&wanted)).cloned()
            }
        };
        let Some(image) = image else {
            return Err(ArchiveError::NoImage {
                archive: archive(),
                wanted: wanted.map_or_else(|| "at all".to_owned(), ToString::to_string),
                there: list_names(&names),
            }
            .into());
        };
        let (_, config) = files.open(&image.config)?;
        let config = read_small(config, &image.config, &files.name, MAX_CONFIG_BYTES)?;
        let config = oci::text(config, "config", &files.name)?;
        Ok(Self { files, image, config })
    }

    /// The image's config as it is stored.
    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.image.names()
    }

    pub(crate) fn plan(&self, limits: &Limits) -> Result<Plan<'_>, Failure> {
        let (_, diff_ids) = oci::parse_config(self.config.as_bytes(), &self.files.name)?;
        oci::check_count(&self.files.name, self.image.layers.len(), diff_ids.len(), limits)?;
        let mut layers = Vec::new();
        for (path, diff_id) in self.image.layers.iter().zip(diff_ids) {
            let (bytes, reader) = self.files.open(path)?;
            layers.push(Layer {
                bytes: Some(bytes),
                digest: None,
                diff_id: Some(diff_id),
                open: Box::new(move || Ok(reader)),
            });
        }
        Ok(Plan { config: Some(self.config.clone()), layers })
    }
}
