//! Images in files: OCI layouts (folder or tar), docker-archives, skopeo's folders and plain root file systems.

mod dir;
mod docker;
mod error;
mod index;
mod layout;
mod rootfs;
mod spool;

pub(crate) use dir::Dir;
pub(crate) use docker::DockerArchive;
pub(crate) use index::TarIndex;
pub(crate) use layout::{Folder, Layout};
pub(crate) use rootfs::{rootfs, rootfs_config};
pub(crate) use spool::seekable;

#[cfg(test)]
mod tests;
