//! The lab's agent in dom0, and the frames between it and the host.
#![forbid(unsafe_code)]

pub mod frame;
pub mod pseudo_terminal;
pub mod serve;
