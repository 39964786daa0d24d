//! `ci/startup-time`: contenders side by side, measured by one client in dom0.

pub mod contender;
pub mod document;
pub mod kernels;
pub mod limits;
pub mod phases;
pub mod picture;
pub mod plan;
pub mod report;
pub mod rounds;
pub mod segments;
pub mod table;
