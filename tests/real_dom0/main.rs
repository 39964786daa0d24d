//! What is promised, on real domains: grouped by promise.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod exec;
mod exhausted;
mod flags;
mod guest_kernel;
mod killed;
mod life;
mod manage;
mod network;
mod pool;
mod restart;
mod serving;
mod systemd;
mod time;
mod toolstacks;
mod xen_crate;
