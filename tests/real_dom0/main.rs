//! What is promised, on real domains: grouped by promise.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod exhausted;
mod killed;
mod life;
mod network;
mod pool;
mod serving;
mod time;
mod toolstacks;
mod xen_crate;
