//! The benchmarks' client in dom0, and the results that it prints for the host.
#![forbid(unsafe_code)]

pub mod attach;
pub mod boot;
pub mod load;
pub mod measure;
pub mod several;
pub mod start;
pub mod wire;
