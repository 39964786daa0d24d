//! Fetching and converting in a child process that gave up root.
//!
//! The launcher starts `fetch`, a program of its own, with a socket for standard input, hands over
//! the request and open files, and gets back events and one result. Registry answers, tars and
//! compressed data are parsed there only, and all code for it is in that program only.

mod channel;
mod child;
mod claim;
mod error;
mod job;
mod messages;
mod opened;
mod parent;
mod running;
mod sandbox;
mod scratch;
mod watch;

pub use child::fetch_child;
pub use error::FetchError;
pub(crate) use parent::{Decision, FetchedImage, fetch};
#[cfg(test)]
pub(crate) use {
    job::run,
    messages::{Input, Request},
};
