//! The writable layer of an app.

use crate::record::app::Record;
use crate::storage::writable::{self, WritableError};
use crate::store::folder::{self, Folder};
use std::path::Path;

/// Makes the writable layer in an app's folder.
pub(crate) fn make(templates: &Path, folder: &Folder, size_mib: u64) -> Result<(), WritableError> {
    writable::make(templates, &folder.file(folder::WRITABLE_DISK), size_mib)
}

/// Makes an app's writable layer again if a power cut emptied it right after it was made.
pub(crate) fn mend(
    templates: &Path,
    folder: &Folder,
    record: &Record,
) -> Result<(), WritableError> {
    let path = folder.file(folder::WRITABLE_DISK);
    if writable::mend(templates, &path, record.storage_mib)? {
        tracing::warn!("the writable layer of app {} was empty; made it again", record.name);
    }
    Ok(())
}
