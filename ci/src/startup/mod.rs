//! `ci/startup-time`: contenders side by side, measured by one client in dom0.

#[cfg(feature = "client")]
pub mod boot;
#[cfg(feature = "host")]
pub mod contender;
#[cfg(feature = "host")]
pub mod document;
#[cfg(feature = "host")]
pub mod kernels;
#[cfg(feature = "host")]
pub mod limits;
#[cfg(feature = "host")]
pub mod phases;
#[cfg(feature = "host")]
pub mod picture;
#[cfg(feature = "host")]
pub mod plan;
#[cfg(feature = "host")]
pub mod report;
#[cfg(feature = "host")]
pub mod rounds;
#[cfg(feature = "host")]
pub mod segments;
#[cfg(feature = "host")]
pub mod table;
