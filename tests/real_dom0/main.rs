//! What is promised, on real domains: grouped by promise.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod life;
mod network;
mod serving;
mod xen_crate;
