//! The benchmarks, which compare `launch` with alternatives: startup-time, density, throughput.
#![forbid(unsafe_code)]

mod axis;
mod bundle;
mod command;
pub mod density;
mod dom0;
mod machine;
mod page;
mod report;
mod rounds;
mod side;
pub mod startup;
mod statistics;
mod table;
mod testbed;
pub mod throughput;
