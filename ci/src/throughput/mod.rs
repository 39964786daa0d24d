//! `ci/throughput`: requests per second, latency and disk speed in a domain and in a container.

#[cfg(feature = "host")]
pub mod contender;
#[cfg(feature = "host")]
pub mod document;
#[cfg(feature = "client")]
pub mod load;
pub mod measure;
#[cfg(feature = "host")]
pub mod picture;
#[cfg(feature = "host")]
pub mod report;
#[cfg(feature = "host")]
pub mod rounds;
#[cfg(feature = "host")]
pub mod table;
#[cfg(feature = "client")]
pub mod wire;
#[cfg(feature = "host")]
pub mod workload;
