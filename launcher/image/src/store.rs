//! The image store: guest disks kept by digest, and the names that point at them.
//!
//! ```text
//! DIR/lock                             held while names.json or the set of images changes
//! DIR/names.json                       name -> digest
//! DIR/sha256/HEX/{disk.erofs,image.json}   whole images; a folder comes here by one rename
//!                                      images with equal disks have one file, by several links
//! DIR/work/NAME/                       an image being made; its maker holds a lock on the folder
//! ```

mod description;
mod error;
mod images;
mod names;
mod pull;
mod work;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use images::{Image, Removed, Store};
pub use pull::{Naming, convert};
