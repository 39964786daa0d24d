//! Ids of apps, and the domains' UUIDs that are made from them.

use files::FileError;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use toolstack::Uuid;

/// Bytes of an id; twice as many hex digits, as Docker shows.
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

/// A new app's id.
pub(crate) fn new_id() -> Result<String, FileError> {
    Ok(random::<ID_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The handle of the domain of the app `id`.
pub(crate) fn uuid_of(id: &str) -> Uuid {
    let mut bytes = [0; ID_BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        let digits = id.get(at..at + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    Uuid::of_app(bytes)
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], FileError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(FileError::io("read", path))?;
    Ok(bytes)
}
