//! Sources: where an image comes from, as it is given on the command line.

use crate::reference::{Reference, ReferenceError};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A registry: `[REGISTRY/]NAME[:TAG][@DIGEST]`.
    Registry(Reference),
    /// A file that `docker save` made: `docker-archive:FILE[:NAME[:TAG]|:ID|:@N]`.
    DockerArchive {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Which image of several.
        image: Option<Chosen>,
    },
    /// An OCI layout in a tar file: `oci-archive:FILE[:TAG|:DIGEST|:@N]`.
    OciArchive {
        /// The file; `-` is standard input.
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
    /// What skopeo makes for this: `dir:DIR`.
    Dir(PathBuf),
    /// A tar of a whole root file system, plain or compressed: `rootfs:FILE`; `-` is standard input.
    Rootfs(PathBuf),
}

/// Which of several images in a docker-archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// By one of its names.
    Name(Reference),
    /// By the beginning of its ID, in hex, or by a name that looks like one.
    Id(String),
    /// By its place in the archive, from 0 on: `@N`.
    Number(usize),
}

impl FromStr for Chosen {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Some(number) = text.strip_prefix('@').and_then(|number| number.parse().ok()) {
            return Ok(Self::Number(number));
        }
        match is_id(text.strip_prefix("sha256:").unwrap_or(text)) {
            true => Ok(Self::Id(text.to_owned())),
            false => text.parse().map(Self::Name),
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Id(id) => formatter.write_str(id),
            Self::Number(number) => write!(formatter, "@{number}"),
        }
    }
}

/// Whether a text may be the beginning of a digest in hex.
pub(crate) fn is_id(text: &str) -> bool {
    (4..=64).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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
    /// A path without a word on what is there.
    #[error(
        "image source {0:?} is a path; write docker-archive:{0} for what `docker save` made, oci-archive:{0}, \
         oci:{0} for an OCI layout in a folder, or rootfs:{0} for a tar of files"
    )]
    Path(String),
    /// The store of another program.
    #[error(
        "image source {text:?} is in a store that is not read; write `{tool} save {name} | launch pull \
         docker-archive:-`"
    )]
    Store {
        /// The whole text.
        text: String,
        /// The image's name there.
        name: String,
        /// The program whose store it is.
        tool: &'static str,
    },
    /// A scheme that is not known.
    #[error(
        "image source {text:?} begins with {scheme}://, which is not known; write HOST/NAME for an image of a \
         registry, docker-archive:FILE, oci-archive:FILE, oci:DIR, dir:DIR or rootfs:FILE"
    )]
    Scheme {
        /// The whole text.
        text: String,
        /// What is before `://`.
        scheme: String,
    },
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
            | Self::Dir(path)
            | Self::Rootfs(path) => {
                if *path != Path::new(STDIN) {
                    *path = std::path::absolute(&*path)?;
                }
            }
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
            Self::Dir(_) | Self::Rootfs(_) => self.to_string(),
        }
    }

    /// Whether it is standard input, which gives another image each time.
    pub(crate) fn is_stdin(&self) -> bool {
        match self {
            Self::Registry(_) | Self::OciLayout { .. } | Self::Dir(_) => false,
            Self::DockerArchive { file, .. }
            | Self::OciArchive { file, .. }
            | Self::Rootfs(file) => [STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]
                .iter()
                .any(|name| file == Path::new(name)),
        }
    }
}

/// Standard input in place of a file.
pub(crate) const STDIN: &str = "-";

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let Some((prefix @ ("docker-archive" | "oci-archive" | "oci" | "dir" | "rootfs"), rest)) =
            text.split_once(':')
        else {
            return of_name(text);
        };
        // Charts have made `oci://HOST/NAME` a name; `oci:///DIR` is a folder.
        if prefix == "oci" && rest.starts_with("//") && !rest.starts_with("///") {
            return of_name(text);
        }
        if rest.is_empty() || rest.starts_with(':') {
            return Err(SourceError::NoPath(format!("{prefix}:")));
        }
        match prefix {
            "rootfs" => return Ok(Self::Rootfs(rest.into())),
            "dir" => return Ok(Self::Dir(rest.into())),
            _ => {}
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

/// An image of a registry, by its name or as a URL; other ways to say where one is get an error that says what to write.
fn of_name(text: &str) -> Result<Source, SourceError> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "docker" | "oci" | "https" | "http" => Ok(Source::Registry(name_in(rest).parse()?)),
            "file" => Err(SourceError::Path(rest.to_owned())),
            _ => Err(SourceError::Scheme { text: text.to_owned(), scheme: scheme.to_owned() }),
        };
    }
    if let Some((store @ ("docker-daemon" | "containers-storage"), name)) = text.split_once(':') {
        let tool = if store == "docker-daemon" { "docker" } else { "podman" };
        let (text, name) = (text.to_owned(), name.to_owned());
        return Err(SourceError::Store { text, name, tool });
    }
    let begins = ["/", "./", "../", "~/", "file:"].iter().any(|start| text.starts_with(start));
    match begins || matches!(text, "." | ".." | "-") {
        true => Err(SourceError::Path(text.trim_start_matches("file:").to_owned())),
        false => Ok(Source::Registry(text.parse()?)),
    }
}

/// The image's name in a URL without its scheme; Docker Hub's pages lead to their image.
fn name_in(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let page = url.strip_prefix("hub.docker.com/").map(|page| page.split('/').collect::<Vec<_>>());
    match page.as_deref() {
        Some(["_", name, ..]) => (*name).to_owned(),
        Some(["r", user, name, ..]) => format!("{user}/{name}"),
        _ => url.to_owned(),
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
            Self::Dir(folder) => with_tag(formatter, "dir", folder, None),
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

    #[test]
    fn a_url_of_a_registry_is_a_name() {
        for (url, name) in [
            ("docker://nginx", "docker.io/library/nginx:latest"),
            ("docker://localhost:5000/app:1", "localhost:5000/app:1"),
            ("https://quay.io/team/app:1", "quay.io/team/app:1"),
            ("HTTPS://quay.io/team/app/", "quay.io/team/app:latest"),
            ("http://127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"),
            ("oci://ghcr.io/team/app", "ghcr.io/team/app:latest"),
            ("https://hub.docker.com/_/nginx", "docker.io/library/nginx:latest"),
            ("https://hub.docker.com/r/team/app/tags?page=1", "docker.io/team/app:latest"),
        ] {
            assert_eq!(url.parse::<Source>().unwrap().to_string(), name, "{url}");
        }
        assert!(matches!("oci:///layout".parse(), Ok(Source::OciLayout { .. })));
    }

    #[test]
    fn what_cannot_be_taken_says_what_to_write() {
        for path in ["/a.tar", "./a.tar", "../a", "~/a", ".", "-", "file:///a.tar"] {
            let error = path.parse::<Source>().unwrap_err();
            assert!(matches!(error, SourceError::Path(_)), "{path}: {error}");
            assert!(error.to_string().contains("docker-archive:"), "{error}");
        }
        let error = "docker-daemon:nginx:1".parse::<Source>().unwrap_err();
        assert!(matches!(error, SourceError::Store { .. }), "{error}");
        assert!(error.to_string().contains("`docker save nginx:1 | launch pull docker-archive:-`"));
        let error = "containers-storage:localhost/a".parse::<Source>().unwrap_err();
        assert!(error.to_string().contains("`podman save localhost/a | "), "{error}");
        let error = "ftp://a/b".parse::<Source>().unwrap_err();
        assert!(matches!(error, SourceError::Scheme { .. }), "{error}");
    }

    #[test]
    fn one_of_several_images_is_chosen_by_name_id_or_place() {
        let chosen = |which: &str| match format!("docker-archive:/a:{which}").parse() {
            Ok(Source::DockerArchive { image: Some(chosen), .. }) => chosen,
            other => panic!("{which}: {other:?}"),
        };
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(chosen("@1"), Chosen::Number(1));
        for id in [hex, &hex[..12], &format!("sha256:{hex}")] {
            assert_eq!(chosen(id), Chosen::Id(id.to_owned()));
        }
        assert!(matches!(chosen("nginx:1"), Chosen::Name(_)));
        for text in ["docker-archive:/a:@1", &format!("docker-archive:/a:sha256:{hex}")] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn standard_input_is_no_place_in_a_folder() {
        for text in ["docker-archive:-", "oci-archive:-:1", "rootfs:-", "rootfs:/dev/stdin"] {
            let source = text.parse::<Source>().unwrap();
            assert!(source.is_stdin(), "{text}");
            assert_eq!(source.absolute().unwrap(), source, "{text}");
        }
        assert!(!"oci:-".parse::<Source>().unwrap().is_stdin());
    }
}
