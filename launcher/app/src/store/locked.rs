//! An app that this process is in charge of.

use crate::record::app::Record;
use crate::record::state::State;
use crate::store::folder::Folder;
use crate::store::lock::Lock;

/// An app, and the right to change it. As long as this value lives, no other process does.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) record: Record,
    pub(crate) state: State,
    pub(crate) folder: Folder,
    pub(crate) lock: Lock,
}
