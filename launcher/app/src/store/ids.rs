//! Ids of apps, and the domains' UUIDs that contain them.

use files::FileError;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs;
use std::path::Path;
use toolstack::Uuid;

/// Bytes of an id. It is written as twice as many hex digits, as many as Docker shows.
const ID_BYTES: usize = 6;

/// The ids of the state folders in `path`.
pub(crate) fn ids_in(path: &Path) -> Result<Vec<String>, FileError> {
    let failed = || FileError::io("read", path);
    let mut ids = Vec::new();
    for entry in fs::read_dir(path).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name().into_string();
        ids.extend(name.ok().filter(|name| {
            name.len() == 2 * ID_BYTES && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        }));
    }
    Ok(ids)
}

/// An id for a new app.
pub(crate) fn new_id() -> Result<String, FileError> {
    Ok(hex::encode(random::<ID_BYTES>()?))
}

/// The UUID of the domain of the app `id`.
pub(crate) fn uuid_of(id: &str) -> Uuid {
    let mut bytes = [0; ID_BYTES];
    // A folder name that is not an id gives zeros, which belong to no app.
    let _ = hex::decode_to_slice(id, &mut bytes);
    Uuid::of_app(bytes)
}

/// Random bytes from the kernel.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], FileError> {
    let mut bytes = [0; N];
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(FileError::io("read", Path::new("/dev/urandom"))(errno.into()));
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_app_is_in_the_handle_of_its_domain() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), 12);
        assert_eq!(uuid_of(&id).app(), Some(id));
    }
}
