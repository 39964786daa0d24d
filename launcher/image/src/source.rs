//! Sources: where an image comes from, as it is given on the command line.

use crate::reference::{Reference, ReferenceError};
use std::{fmt, path::PathBuf, str::FromStr};

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A registry: `[REGISTRY/]NAME[:TAG][@DIGEST]`.
    Registry(Reference),
    /// A file that `docker save` made: `docker-archive:FILE[:NAME[:TAG]]`.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// Which image of several.
        image: Option<Reference>,
    },
    /// An OCI layout in a tar file: `oci-archive:FILE[:TAG]`.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// Which image of several.
        tag: Option<String>,
    },
    /// An OCI layout in a folder: `oci:DIR[:TAG]`.
    OciLayout {
        /// The folder.
        folder: PathBuf,
        /// Which image of several.
        tag: Option<String>,
    },
    /// A tar of a whole root file system, plain or compressed: `rootfs:FILE`.
    Rootfs(PathBuf),
}

/// Why a text is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A name of an image, but not a valid one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Nothing after the prefix.
    #[error("image source {0:?} names no file; write {0}FILE")]
    NoPath(String),
    /// The name after a docker-archive's file.
    #[error("in image source {text:?}")]
    Image {
        /// The whole text.
        text: String,
        /// What is wrong with the name.
        source: ReferenceError,
    },
}

impl Source {
    /// The same source with an absolute path, so that it means the same in any folder.
    ///
    /// # Errors
    /// The current folder is gone.
    pub fn absolute(&self) -> std::io::Result<Self> {
        let mut source = self.clone();
        match &mut source {
            Self::Registry(_) => {}
            Self::DockerArchive { file: path, .. }
            | Self::OciArchive { file: path, .. }
            | Self::OciLayout { folder: path, .. }
            | Self::Rootfs(path) => *path = std::path::absolute(&*path)?,
        }
        Ok(source)
    }
}

impl Source {
    /// The repository, file or folder, without what chooses one of several images in it.
    #[must_use]
    pub fn origin(&self) -> String {
        match self {
            Self::Registry(reference) => {
                format!("{}/{}", reference.registry(), reference.repository())
            }
            Self::DockerArchive { file, .. } => format!("docker-archive:{}", file.display()),
            Self::OciArchive { file, .. } => format!("oci-archive:{}", file.display()),
            Self::OciLayout { folder, .. } => format!("oci:{}", folder.display()),
            Self::Rootfs(_) => self.to_string(),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let Some((prefix @ ("docker-archive" | "oci-archive" | "oci" | "rootfs"), rest)) =
            text.split_once(':')
        else {
            return Ok(Self::Registry(text.parse()?));
        };
        if rest.is_empty() || rest.starts_with(':') {
            return Err(SourceError::NoPath(format!("{prefix}:")));
        }
        if prefix == "rootfs" {
            return Ok(Self::Rootfs(rest.into()));
        }
        let (path, which) = rest.split_once(':').unwrap_or((rest, ""));
        let which = Some(which).filter(|which| !which.is_empty());
        let tag = which.map(str::to_owned);
        Ok(match prefix {
            "oci" => Self::OciLayout { folder: path.into(), tag },
            "oci-archive" => Self::OciArchive { file: path.into(), tag },
            _ => {
                let image = which.map(str::parse).transpose();
                let image =
                    image.map_err(|source| SourceError::Image { text: text.to_owned(), source })?;
                Self::DockerArchive { file: path.into(), image }
            }
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_tag =
            |formatter: &mut fmt::Formatter<'_>, prefix, path: &PathBuf, tag: Option<&str>| {
                write!(formatter, "{prefix}:{}", path.display())?;
                tag.map_or(Ok(()), |tag| write!(formatter, ":{tag}"))
            };
        match self {
            Self::Registry(reference) => reference.fmt(formatter),
            Self::DockerArchive { file, image } => {
                let image = image.as_ref().map(ToString::to_string);
                with_tag(formatter, "docker-archive", file, image.as_deref())
            }
            Self::OciArchive { file, tag } => {
                with_tag(formatter, "oci-archive", file, tag.as_deref())
            }
            Self::OciLayout { folder, tag } => with_tag(formatter, "oci", folder, tag.as_deref()),
            Self::Rootfs(file) => with_tag(formatter, "rootfs", file, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_by_its_prefix_and_written_back_the_same() {
        for text in [
            "docker.io/library/nginx:latest",
            "docker-archive:/a.tar",
            "docker-archive:/a.tar:docker.io/library/nginx:1",
            "oci-archive:a.tar:1.0",
            "oci:layout",
            "oci:layout:1.0",
            "rootfs:/some:where.tar.gz",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert!(matches!("oci".parse(), Ok(Source::Registry(_))));
        assert!(matches!(
            "oci:l:1".parse(),
            Ok(Source::OciLayout { tag: Some(tag), .. }) if tag == "1"
        ));
    }

    #[test]
    fn all_images_of_a_repository_or_file_have_one_origin() {
        let origin = |text: &str| text.parse::<Source>().unwrap().origin();
        assert_eq!(origin("nginx:1"), "docker.io/library/nginx");
        assert_eq!(origin("docker-archive:/a.tar:nginx:1"), "docker-archive:/a.tar");
        assert_eq!(origin("oci:/layout:1.0"), "oci:/layout");
    }

    #[test]
    fn a_prefix_without_a_path_is_an_error_that_says_so() {
        for text in ["oci:", "rootfs:", "docker-archive:", "oci-archive::tag"] {
            assert!(matches!(text.parse::<Source>(), Err(SourceError::NoPath(_))), "{text}");
        }
        let error = "docker-archive:a.tar:Bad".parse::<Source>().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("image name \"Bad\" has capital letters"), "{source}");
    }
}
