//! `ci/density`: as many domains of one image as fit, and as many containers, in one dom0.

pub mod at_once;
pub mod document;
pub mod fill;
pub mod memory;
pub mod picture;
pub mod report;
pub mod side;
pub mod table;
