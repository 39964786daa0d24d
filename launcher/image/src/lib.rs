//! OCI images to read-only guest disks.
//!
//! A [`Source`] (registry, archive, layout folder, rootfs tar) is read, checked and converted
//! into one EROFS disk by a child process without root; a [`Store`] keeps the disks by digest.
#![deny(unsafe_code)]

mod archive;
mod certificates;
mod config;
mod converter;
mod credentials;
mod digest;
mod erofs;
mod failure;
mod fetch;
mod host;
mod json;
mod layer;
mod layers;
mod limits;
mod manifest;
mod oci;
mod platform;
mod progress;
mod reference;
mod registry;
mod room;
mod settings;
mod source;
mod store;
mod tree;

pub use config::{Config, Healthcheck};
pub use converter::{ConvertError, Converter, Disk, LayerError};
pub use digest::{Digest, DigestError};
pub use failure::FailureKind;
pub use fetch::{FetchError, fetch_child};
pub use limits::{LimitError, Limits};
pub use progress::{Event, Progress};
pub use reference::{DEFAULT_REGISTRY, Reference, ReferenceError};
pub use settings::Settings;
pub use source::{Chosen, Source, SourceError};
pub use store::{Image, Naming, Removed, Store, StoreError, convert};
