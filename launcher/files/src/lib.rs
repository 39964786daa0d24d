//! Keeps `launch`'s files on disk: only root reads them, and a file is replaced completely or not at all.
#![forbid(unsafe_code)]

mod error;
mod json;
mod private;
mod remove;
mod replace;

pub use error::FileError;
pub use json::{read_json, render_json, write_json};
pub use private::{create_private, make_private, make_private_with};
pub use remove::remove_if_there;
pub use replace::{Durability, ReplaceError, Writers, replace};
