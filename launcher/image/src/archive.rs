//! Images in files: OCI layouts (folder or tar), docker-archives and plain root file systems.

mod docker;
mod error;
mod index;
mod layout;
mod rootfs;

pub(crate) use docker::DockerArchive;
pub(crate) use index::TarIndex;
pub(crate) use layout::{Folder, Layout};
pub(crate) use rootfs::{rootfs, rootfs_config};

#[cfg(test)]
mod tests;
