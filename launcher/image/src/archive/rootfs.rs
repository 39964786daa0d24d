//! A plain tar of a root file system, as an image of one layer without a config.

use crate::{
    config::Config,
    oci::{Layer, Plan},
    platform::Platform,
};
use std::fs::File;

/// The one layer; the tar may be compressed, and may come through a pipe.
pub(crate) fn rootfs(file: File) -> Plan<'static> {
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file);
    let layer = Layer {
        bytes: metadata.map(|metadata| metadata.len()),
        digest: None,
        diff_id: None,
        open: Box::new(move || Ok(Box::new(file))),
    };
    Plan { config: None, layers: vec![layer] }
}

/// The config that such an image would have.
pub(crate) fn rootfs_config() -> Config {
    let Platform { os, architecture, .. } = Platform::machine();
    Config { os: os.into(), architecture: architecture.into(), ..Config::default() }
}
