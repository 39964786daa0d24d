//! What compares `launch` with others: startup-time, density, throughput.
#![forbid(unsafe_code)]

pub mod compare;
pub mod density;
pub mod startup;
pub mod throughput;
