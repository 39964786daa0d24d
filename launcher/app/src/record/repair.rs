//! What was repaired.

use std::fmt;

/// Something left behind by a killed process, and what was done about it; one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair(pub(crate) String);

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
