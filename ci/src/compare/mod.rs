//! What the comparisons (`startup-time`, `density`, `throughput`) share: dom0 and what stands in it,
//! containers, one client, statistics, pictures, pages.

#[cfg(feature = "client")]
pub mod attach;
#[cfg(feature = "host")]
pub mod axis;
#[cfg(feature = "host")]
pub mod bundle;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "host")]
pub mod command;
#[cfg(feature = "host")]
pub mod container;
#[cfg(feature = "host")]
pub mod ground;
#[cfg(feature = "host")]
pub mod machine;
pub mod measure;
#[cfg(feature = "host")]
pub mod output;
#[cfg(feature = "host")]
pub mod place;
#[cfg(feature = "client")]
pub mod several;
#[cfg(feature = "host")]
pub mod statistics;
#[cfg(feature = "host")]
pub mod svg;
