//! The errors of requests that cannot be fulfilled.

use crate::request::limits::{MAX_VCPUS, MIN_MEMORY_MIB};
use crate::request::signal::SignalError;
use crate::request::size::SizeError;

/// Why a request cannot be fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Neither the image nor the user names a command.
    #[error("image {0} names no command; give one after the image, or with --entrypoint")]
    NoCommand(String),
    /// The guest could not run in so little memory.
    #[error(
        "{memory_mib} MiB of memory are too little: a guest needs at least {MIN_MEMORY_MIB} MiB; give more with --memory"
    )]
    Memory {
        /// The requested memory.
        memory_mib: u32,
    },
    /// The value of the image's label is not a size.
    #[error("label {label} of image {image}")]
    MemoryLabel {
        /// The label.
        label: &'static str,
        /// The image.
        image: String,
        /// What is wrong.
        source: SizeError,
    },
    /// The number of vCPUs is zero or too large.
    #[error("a domain cannot have {0} vCPUs; give 1 to {MAX_VCPUS}")]
    Vcpus(u32),
    /// The working directory is not an absolute path.
    #[error("working directory {0:?} is not an absolute path")]
    Cwd(String),
    /// The stop signal is unknown.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A text with a NUL character, which C strings cannot hold.
    #[error("{what} {value:?} has a NUL character")]
    Nul {
        /// Argument, variable, …
        what: &'static str,
        /// The value.
        value: String,
    },
    /// An environment variable without a name.
    #[error("environment variable {0:?} has no name")]
    Env(String),
    /// The host name is not valid.
    #[error("hostname {0:?} is not valid; use up to 64 letters, digits, dots and hyphens")]
    Hostname(String),
    /// The address is not valid.
    #[error("address {0:?} is not valid")]
    Ip(String),
    /// Ports are published for an app without an address.
    #[error("ports can only be published on launch's own network; leave out -p or --network")]
    PublishWithoutNetwork,
    /// The orders exceed the guest's limit.
    #[error(
        "arguments and environment are too large for the guest: {bytes} bytes as JSON, at most {max}; give the app long texts in files", max = contract::store::MAX_ORDERS_BYTES
    )]
    OrdersTooLarge {
        /// Size of the orders.
        bytes: usize,
    },
}
