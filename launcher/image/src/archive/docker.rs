//! Docker-archives, as `docker save` and `podman save` make them.

use super::{
    error::{ArchiveError, list_names},
    index::TarIndex,
    layout::read_small,
};
use crate::{
    digest::Digest,
    failure::Failure,
    json::{Fields, Json, JsonError},
    limits::Limits,
    manifest::{MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES},
    oci::{self, Layer, Plan},
    reference::Reference,
    source::Chosen,
};

const MANIFEST: &str = "manifest.json";
/// How many images are looked through for one with a given ID.
const MAX_IMAGES: usize = 1000;
/// How much of an ID messages show, as Docker does.
const SHORT_ID: usize = 12;

/// One image of a docker-archive.
///
/// It has no manifest of its own; its digest is that of its config, which holds the diff IDs of
/// all layers and is what Docker calls the image ID.
pub(crate) struct DockerArchive {
    files: TarIndex,
    image: Saved,
    config: String,
}

/// An image as `manifest.json` describes it.
struct Saved {
    config: String,
    tags: Vec<String>,
    layers: Vec<String>,
}

impl Saved {
    fn of(json: &Json, path: &str) -> Result<Self, JsonError> {
        let fields = Fields::of(json, path)?;
        let texts =
            |name| fields.texts(name).map(|all| all.into_iter().map(str::to_owned).collect());
        match fields.text("Config")? {
            "" => Err(JsonError::Missing { field: fields.path("Config") }),
            config => Ok(Self {
                config: config.to_owned(),
                tags: texts("RepoTags")?,
                layers: texts("Layers")?,
            }),
        }
    }

    fn names(&self) -> Vec<String> {
        let tags = self.tags.iter();
        tags.filter_map(|tag| Some(tag.parse::<Reference>().ok()?.to_string())).collect()
    }

    fn read_config(&self, files: &TarIndex) -> Result<Vec<u8>, Failure> {
        let (_, config) = files.open(&self.config)?;
        read_small(config, &self.config, &files.name, MAX_CONFIG_BYTES)
    }

    /// Docker's ID of the image, in hex.
    fn id(&self, files: &TarIndex) -> Option<String> {
        self.read_config(files).ok().map(|config| Digest::of(&config).hex())
    }
}

impl DockerArchive {
    pub(crate) fn open(files: TarIndex, wanted: Option<&Chosen>) -> Result<Self, Failure> {
        let archive = || files.name.clone();
        let (_, manifest) = files.open(MANIFEST).map_err(|_| match files.open("index.json") {
            Ok(_) => ArchiveError::OtherKind {
                archive: archive(),
                there: "an OCI layout's index.json",
                missing: MANIFEST,
                write: "oci-archive:",
            },
            Err(_) => {
                ArchiveError::Kind { archive: archive(), kind: "a docker-archive", file: MANIFEST }
            }
        })?;
        let json = read_small(manifest, MANIFEST, &files.name, MAX_MANIFEST_BYTES)?;
        let error = |source| ArchiveError::Json { archive: archive(), file: MANIFEST, source };
        let json = Json::parse(&json).map_err(error)?;
        let images = json.items("").map_err(error)?.iter().take(MAX_IMAGES).zip(0..);
        let mut images: Vec<_> =
            images.map(|(json, number)| Saved::of(json, &format!("[{number}]"))).collect();
        let Some(at) = find(&images, wanted, &files) else {
            return Err(not_chosen(list(&images, &files), wanted, archive()).into());
        };
        let image = images.swap_remove(at).map_err(error)?;
        let config = oci::text(image.read_config(&files)?, "config", &files.name)?;
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

/// Which image is wanted; without a word, the only one.
fn find(
    images: &[Result<Saved, JsonError>],
    wanted: Option<&Chosen>,
    files: &TarIndex,
) -> Option<usize> {
    let place = |fits: &dyn Fn(&Saved) -> bool| {
        images.iter().position(|image| image.as_ref().is_ok_and(fits))
    };
    let named = |name: &Reference| {
        let name = name.to_string();
        place(&|image| image.names().contains(&name))
    };
    match wanted {
        None => (images.len() == 1).then_some(0),
        Some(Chosen::Number(number)) => Some(*number).filter(|number| *number < images.len()),
        Some(Chosen::Name(name)) => named(name),
        Some(Chosen::Id(id)) => id.parse().ok().and_then(|name| named(&name)).or_else(|| {
            let id = id.strip_prefix("sha256:").unwrap_or(id);
            place(&|image| image.id(files).is_some_and(|whole| whole.starts_with(id)))
        }),
    }
}

/// Why none of the images that are `there` is the one.
fn not_chosen(there: Vec<String>, wanted: Option<&Chosen>, archive: String) -> ArchiveError {
    match (wanted, there.first()) {
        (None, Some(first)) => ArchiveError::Several {
            example: format!("{archive}:{}", first.split(' ').next().unwrap_or_default()),
            names: there.join(", "),
            archive,
        },
        _ => ArchiveError::NoImage {
            wanted: wanted.map_or_else(|| "at all".to_owned(), ToString::to_string),
            there: list_names(&there),
            archive,
        },
    }
}

/// What can be written to choose each image: its names, or its number with its ID behind it.
fn list(images: &[Result<Saved, JsonError>], files: &TarIndex) -> Vec<String> {
    const SHOWN: usize = 10;
    let mut there = Vec::new();
    for (number, image) in images.iter().enumerate().take(SHOWN) {
        let names = image.as_ref().map(Saved::names).unwrap_or_default();
        let id = || image.as_ref().ok()?.id(files).map(|id| format!(" ({})", &id[..SHORT_ID]));
        match names.is_empty() {
            true => there.push(format!("@{number}{}", id().unwrap_or_default())),
            false => there.extend(names),
        }
    }
    there
}
