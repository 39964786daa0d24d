//! An app whose lock this process holds.

use crate::record::app::Record;
use crate::record::state::State;
use crate::store::folder::Folder;
use crate::store::lock::Lock;

/// An app, and the right to change it. While this value lives, no other process changes the app.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) record: Record,
    pub(crate) state: State,
    pub(crate) folder: Folder,
    pub(crate) lock: Lock,
}
