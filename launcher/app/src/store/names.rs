//! Names of apps: unique on this machine, each a symbolic link to its app's folder.

use files::FileError;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The longest name in bytes; Xen's own tools show 40 characters.
const MAX_BYTES: usize = 63;

/// Why a name cannot be assigned or looked up.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The name is not valid.
    #[error("name {name:?} {reason}")]
    Invalid {
        /// The name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Another app has the name.
    #[error(
        "the name {0:?} is taken by another app; choose another with --name, or remove that app with `launch rm`"
    )]
    Taken(String),
    /// The folder of names cannot be read or changed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The folder of names. A process that changes it holds the apps' common lock.
#[derive(Clone, Debug)]
pub(crate) struct Names(pub(crate) PathBuf);

impl Names {
    /// The id of the app with this name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<String>, NameError> {
        if check(name).is_err() {
            return Ok(None);
        }
        let path = self.0.join(name);
        match fs::read_link(&path) {
            Ok(target) => Ok(id_of(&target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::io("read", &path)(error).into()),
        }
    }

    /// The names that begin with `start`, with their apps' ids.
    pub(crate) fn beginning(&self, start: &str) -> Result<Vec<(String, String)>, NameError> {
        let failed = || FileError::io("read", &self.0);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(start)) else { continue };
            found.extend(self.find(name)?.map(|id| (name.to_owned(), id)));
        }
        Ok(found)
    }

    /// Assigns `id` the name `wanted`, or else the first free name of `base`, `base-2`, `base-3`, …
    pub(crate) fn take(
        &self,
        id: &str,
        wanted: Option<&str>,
        base: &str,
        exists: impl Fn(&str) -> bool,
    ) -> Result<String, NameError> {
        if let Some(name) = wanted {
            check(name)?;
            return match self.try_take(id, name, &exists)? {
                true => Ok(name.to_owned()),
                false => Err(NameError::Taken(name.to_owned())),
            };
        }
        let base = base_name(base);
        for number in 1u32.. {
            let name = if number == 1 { base.clone() } else { format!("{base}-{number}") };
            if self.try_take(id, &name, &exists)? {
                return Ok(name);
            }
        }
        Err(NameError::Taken(base))
    }

    fn try_take(
        &self,
        id: &str,
        name: &str,
        exists: &impl Fn(&str) -> bool,
    ) -> Result<bool, NameError> {
        let path = self.0.join(name);
        let target = Path::new("../domains").join(id);
        for _ in 0..2 {
            match std::os::unix::fs::symlink(&target, &path) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.find(name)?.is_some_and(|holder| exists(&holder)) {
                        return Ok(false);
                    }
                    // The name of an app that no longer exists.
                    fs::remove_file(&path).map_err(FileError::io("remove", &path))?;
                }
                Err(error) => return Err(FileError::io("make", &path)(error).into()),
            }
        }
        Ok(false)
    }

    /// Frees the name if it belongs to `id`.
    pub(crate) fn release(&self, id: &str, name: &str) -> Result<(), NameError> {
        if self.find(name)?.as_deref() == Some(id) {
            let path = self.0.join(name);
            fs::remove_file(&path).map_err(FileError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Frees every name of `id`.
    pub(crate) fn release_all(&self, id: &str) -> Result<(), NameError> {
        let failed = || FileError::io("read", &self.0);
        for entry in fs::read_dir(&self.0).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            if let Some(name) = name.to_str() {
                self.release(id, name)?;
            }
        }
        Ok(())
    }
}

fn id_of(target: &Path) -> Option<String> {
    target.file_name()?.to_str().map(str::to_owned)
}

/// Checks Docker's rule, and that `xl` cannot take the name for a domain number.
fn check(name: &str) -> Result<(), NameError> {
    let wrong = |reason| Err(NameError::Invalid { name: name.chars().take(80).collect(), reason });
    if name.is_empty() || name.len() > MAX_BYTES {
        return wrong("has to have 1 to 63 characters");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return wrong(
            "may only have letters, digits, `_`, `.` and `-`, and begins with a letter or digit",
        );
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return wrong("is only digits, which xl takes for a domain number");
    }
    if name == "Domain-0" {
        return wrong("is dom0's own");
    }
    Ok(())
}

/// Makes a name from `registry/library/nginx:1.22@sha256:…`, `oci:/x/web.d` or `docker-archive:web.tar`.
fn base_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    let last = last.split('@').next().unwrap_or_default();
    let last = match last.split_once(':') {
        Some(("docker-archive" | "oci-archive" | "oci" | "rootfs", file)) => file,
        Some((name, _)) => name,
        None => last,
    };
    let last = last.split(':').next().unwrap_or_default();
    let last = [".tar", ".tar.gz", ".tgz", ".tar.zst"]
        .iter()
        .find_map(|end| last.strip_suffix(end))
        .unwrap_or(last);
    let mut name: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        // Leaves room for the number.
        .take(MAX_BYTES - 11)
        .collect();
    if check(&name).is_err() {
        name = format!("app{}{name}", if name.is_empty() { "" } else { "-" });
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (tempfile::TempDir, Names) {
        let folder = tempfile::tempdir().unwrap();
        let names = Names(folder.path().into());
        (folder, names)
    }

    #[test]
    fn a_name_comes_from_the_images_own() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("docker.io/library/nginx:1.22", "nginx"),
            ("localhost:5000/team/web@sha256:00ff", "web"),
            ("docker-archive:/srv/shop.tar.gz", "shop"),
            ("oci:layouts/db:16", "db"),
            ("oci:db:16", "db"),
            ("rootfs:x y.tar", "x-y"),
            ("example/123", "app-123"),
            ("", "app"),
        ] {
            assert_eq!(base_name(image), name, "{image}");
        }
    }

    #[test]
    fn the_next_free_number_is_added() {
        let (_folder, names) = names();
        let take = |id| names.take(id, None, "nginx", |_| true).unwrap();
        assert_eq!(
            (take("a"), take("b"), take("c")),
            ("nginx".into(), "nginx-2".into(), "nginx-3".into())
        );
        names.release("b", "nginx-2").unwrap();
        assert_eq!(take("d"), "nginx-2");
        assert_eq!(names.find("nginx-2").unwrap(), Some("d".into()));
    }

    #[test]
    fn a_wanted_name_that_is_taken_is_refused() {
        let (_folder, names) = names();
        names.take("a", Some("web"), "nginx", |_| true).unwrap();
        let error = names.take("b", Some("web"), "nginx", |_| true).unwrap_err();
        assert!(error.to_string().contains("\"web\" is taken"), "{error}");
    }

    #[test]
    fn the_name_of_an_app_that_is_gone_is_free() {
        let (_folder, names) = names();
        names.take("a", Some("web"), "nginx", |_| true).unwrap();
        names.take("b", Some("web"), "nginx", |_| false).unwrap();
        assert_eq!(names.find("web").unwrap(), Some("b".into()));
        names.release("a", "web").unwrap();
        assert_eq!(names.find("web").unwrap(), Some("b".into()));
    }

    #[test]
    fn names_that_would_break_something_are_refused() {
        let long = "x".repeat(64);
        for (name, told) in [
            ("", "1 to 63 characters"),
            (&long, "1 to 63 characters"),
            (".hidden", "begins with a letter or digit"),
            ("../x", "begins with a letter or digit"),
            ("a/b", "may only have"),
            ("a b", "may only have"),
            ("x\n", "may only have"),
            ("é", "may only have"),
            ("7", "only digits"),
            ("Domain-0", "dom0's own"),
        ] {
            let error = check(name).unwrap_err();
            let NameError::Invalid { reason, .. } = &error else { panic!("{name:?}: {error}") };
            assert!(reason.contains(told), "{name:?}: {reason}");
        }
        check("web_1.prod-x").unwrap();
    }
}
