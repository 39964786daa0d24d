//! Names in archives to path components.

/// The longest name of one file on Linux and in EROFS.
const MAX_NAME_BYTES: usize = 255;

/// Why a name in an archive is not a path inside the image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("its name is empty")]
    Empty,
    #[error("a part of its name is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    #[error("its name has a NUL byte in it")]
    Nul,
}

/// Splits an archive's name into components; the root itself has none.
///
/// A leading slash is dropped, as by Docker, containerd and umoci, which all take names relative to
/// the image's root: Jib and Kaniko write such names in honest images. `.` and double slashes mean
/// nothing. `..` takes back the part before it, as umoci and containerd have it, and nothing where there is none: the
/// root has no parent.
pub(crate) fn components(name: &[u8]) -> Result<Vec<&[u8]>, PathError> {
    if name.is_empty() {
        return Err(PathError::Empty);
    }
    let mut parts = Vec::with_capacity(8);
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ if part.len() > MAX_NAME_BYTES => return Err(PathError::NameTooLong),
            _ if part.contains(&0) => return Err(PathError::Nul),
            _ => parts.push(part),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(name: &str) -> Result<String, PathError> {
        Ok(components(name.as_bytes())?
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect::<Vec<_>>()
            .join("/"))
    }

    #[test]
    fn slashes_and_dots_that_mean_nothing_are_dropped() {
        for name in ["usr/bin", "./usr/bin", "/usr//bin/", ".//./usr/./bin/."] {
            assert_eq!(joined(name).unwrap(), "usr/bin", "{name}");
        }
    }

    #[test]
    fn every_spelling_of_the_root_has_no_components() {
        for name in ["/", ".", "./", "//", "/./"] {
            assert_eq!(joined(name).unwrap(), "", "{name}");
        }
    }

    #[test]
    fn a_dot_dot_never_leads_out() {
        for (name, path) in [
            ("a/../b", "b"),
            ("a/b/../../c", "c"),
            ("a/..", ""),
            ("..", ""),
            ("../etc", "etc"),
            ("/../../etc/../x", "x"),
        ] {
            assert_eq!(joined(name).unwrap(), path, "{name}");
        }
        assert_eq!(joined("..a/b..").unwrap(), "..a/b..");
    }

    #[test]
    fn names_end_at_255_bytes() {
        assert_eq!(components(&[b'x'; 255]).unwrap(), [[b'x'; 255]]);
        assert_eq!(components(&[b'x'; 256]), Err(PathError::NameTooLong));
        assert_eq!(components(b""), Err(PathError::Empty));
        assert_eq!(components(b"a\0b"), Err(PathError::Nul));
    }
}
