//! Reports of repairs.

use std::fmt;

/// One line that says what a killed process left behind and how it was repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair(pub(crate) String);

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
