//! What is promised, on real domains: grouped by promise.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod environment;
mod exec;
mod exhausted;
mod files;
mod flags;
mod guest_kernel;
mod guest_protocol;
mod hostile;
mod hostile_copy;
mod hostile_image;
mod hostile_monitor;
mod hostile_network;
mod hostile_state;
mod hostile_text;
mod killed;
mod life;
mod limits;
mod manage;
mod network;
mod pid_1;
mod pool;
mod restart;
mod serving;
mod systemd;
mod time;
mod toolstacks;
mod xen_crate;
