//! `ci/startup-time`: contenders side by side, measured by one client in dom0.

#[cfg(feature = "client")]
pub mod attach;
#[cfg(feature = "host")]
pub mod bundle;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "host")]
pub mod contender;
#[cfg(feature = "host")]
pub mod ground;
pub mod measure;
#[cfg(feature = "host")]
pub mod place;
#[cfg(feature = "host")]
pub mod plan;
#[cfg(feature = "host")]
pub mod report;
#[cfg(feature = "host")]
pub mod rounds;
#[cfg(feature = "host")]
pub mod statistics;
