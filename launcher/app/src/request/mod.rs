//! Turns a user's request into a record, orders and a domain.

pub(crate) mod domain;
pub(crate) mod error;
pub(crate) mod image_request;
pub(crate) mod limits;
pub(crate) mod orders;
pub(crate) mod process;
pub(crate) mod resolve;
pub(crate) mod run_request;
pub(crate) mod shape;
pub(crate) mod signal;
pub(crate) mod size;

pub use signal::parse_signal;
pub use size::{parse_size_bytes, parse_size_mib};
