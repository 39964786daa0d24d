//! Why a request cannot be fulfilled.

use crate::request::limits::{MAX_VCPUS, MIN_MEMORY_MIB};
use crate::request::signal::SignalError;
use crate::request::size::SizeError;

/// Why a request cannot be fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nothing to run.
    #[error("image {0} names no command; give one after the image, or with --entrypoint")]
    NoCommand(String),
    /// Too little memory.
    #[error(
        "{memory_mib} MiB of memory are too little: a guest needs at least {MIN_MEMORY_MIB} MiB; give more with --memory"
    )]
    Memory {
        /// What was asked for.
        memory_mib: u32,
    },
    /// The image's label is wrong.
    #[error("label {label} of image {image}")]
    MemoryLabel {
        /// The label.
        label: &'static str,
        /// The image.
        image: String,
        /// What is wrong.
        source: SizeError,
    },
    /// No or too many vCPUs.
    #[error("a domain cannot have {0} vCPUs; give 1 to {MAX_VCPUS}")]
    Vcpus(u32),
    /// Not an absolute path.
    #[error("working directory {0:?} is not an absolute path")]
    Cwd(String),
    /// A signal that is not known.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// Something that C strings cannot hold.
    #[error("{what} {value:?} has a NUL character")]
    Nul {
        /// Argument, variable, …
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A variable without a name.
    #[error("environment variable {0:?} has no name")]
    Env(String),
    /// Not a host name.
    #[error("hostname {0:?} is not valid; use up to 64 letters, digits, dots and hyphens")]
    Hostname(String),
    /// A wrong address.
    #[error("address {0:?} is not valid")]
    Ip(String),
    /// Ports of an app that has no address.
    #[error("ports can only be published on launch's own network; leave out -p or --network")]
    PublishWithoutNetwork,
    /// Orders beyond what the guest reads.
    #[error(
        "arguments and environment are too large for the guest: {bytes} bytes as JSON, at most {max}; give the app long texts in files", max = contract::store::MAX_ORDERS_BYTES
    )]
    OrdersTooLarge {
        /// Size of the orders.
        bytes: usize,
    },
}
