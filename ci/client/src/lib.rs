//! The client of the benchmarks in dom0, and what it tells the host.
#![forbid(unsafe_code)]

pub mod attach;
pub mod boot;
pub mod load;
pub mod measure;
pub mod several;
pub mod start;
pub mod wire;
