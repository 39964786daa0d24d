//! Renames an app.

use crate::apps::{App, Apps};
use crate::domain::domain;
use crate::error::AppsError;

/// Renames the app, and its domain if it has one.
///
/// # Errors
/// The name is taken or not valid.
pub fn rename(apps: &Apps, app: &App, name: &str) -> Result<(), AppsError> {
    if app.record.name == name {
        return Err(AppsError::SameName(name.to_owned()));
    }
    if apps.toolstack().check().is_ok() {
        apps.toolstack().check_name(name)?;
    }
    let folder = apps.folder(&app.record.id);
    let exists = |holder: &str| apps.folder(holder).path().exists();
    let _common = apps.common_lock()?;
    let mut record = folder.read_record()?;
    apps.names().take(&record.id, Some(name), name, exists)?;
    let old = std::mem::replace(&mut record.name, name.to_owned());
    if let Err(error) = folder.write_record(&record) {
        let released = apps.names().release(&record.id, name);
        return Err(AppsError::from(error).and(released));
    }
    apps.names().release(&record.id, &old)?;
    if let Some(domain) = domain(apps, app)? {
        apps.toolstack().rename(domain, name)?;
    }
    Ok(())
}
