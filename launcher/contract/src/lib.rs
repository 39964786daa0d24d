//! What the launcher tells the guest and what the guest tells back.
//!
//! One version covers everything here: kernel, `init` and launcher are shipped together, and a
//! mismatch is an error that both sides name. Orders go down as JSON in xenstore, cut into
//! chunks that fit a node; the report comes back as one JSON node. The guest is not
//! trusted: [`Report::parse`] bounds everything it takes. Once the app runs, both sides may talk in
//! frames on vchans ([`talk`]).
#![forbid(unsafe_code)]

pub mod copy;
pub mod devices;
mod mac;
mod one_line;
pub mod orders;
pub mod report;
pub mod start_set;
pub mod store;
pub mod streams;
pub mod talk;
pub mod untrusted;
mod version;

pub use mac::{Mac, MacError};
pub use one_line::one_line;
pub use orders::{Host, Limit, Neighbour, Network, Orders, Process, Root, Sysctl, Tmpfs, Writable};
pub use report::{Exit, Mark, Report};
pub use start_set::StartSet;
pub use streams::Stream;
pub use untrusted::Untrusted;
pub use version::VERSION;
