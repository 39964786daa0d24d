//! The lab's agent in dom0, and the frames by which the host talks to it.
#![forbid(unsafe_code)]

pub mod frame;
pub mod pseudo_terminal;
pub mod serve;
