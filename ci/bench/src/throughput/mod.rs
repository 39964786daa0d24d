//! `ci/throughput`: requests per second, latency and disk speed in a domain and in a container.

pub mod contender;
pub mod document;
pub mod picture;
pub mod report;
pub mod rounds;
pub mod table;
pub mod workload;
