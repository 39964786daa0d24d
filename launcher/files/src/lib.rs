//! How `launch` keeps files on disk: only root reads them, and a file is replaced whole or not at all.
#![forbid(unsafe_code)]

mod private;
mod replace;

pub use private::{create_private, make_private, make_private_with};
pub use replace::{Durability, ReplaceError, Writers, replace};
