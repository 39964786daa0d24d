//! The version of the contract.

/// The version of everything in this crate.
pub const VERSION: u32 = 5;
