//! The monitor: one small process an app, from its start to its end.

use crate::apps::{Apps, AppsError};

/// The body of `launch __monitor ID`.
///
/// # Errors
/// The app cannot be watched; the next `launch` command starts a monitor anew.
pub fn run(_apps: &Apps, _id: &str) -> Result<(), AppsError> {
    todo!()
}
