//! A plain tar of a root file system as an image of one layer that says nothing about its app.

use crate::{
    config::Config,
    digest::Digest,
    manifest,
    oci::{Layer, Plan},
};
use std::fs::File;

/// The one layer; the tar may be compressed, and may come through a pipe.
pub(crate) fn rootfs(file: File) -> Plan<'static> {
    let (os, architecture) = manifest::machine();
    let config = Config { os: os.into(), architecture: architecture.into(), ..Config::default() };
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file);
    let layer = Layer {
        bytes: metadata.map(|metadata| metadata.len()),
        digest: None,
        diff_id: None,
        open: Box::new(move || Ok(Box::new(file))),
    };
    Plan { config, layers: vec![layer] }
}

/// The digest of such an image: that of the config it would have.
pub(crate) fn digest_of_tree(diff_ids: &[Digest]) -> Digest {
    let (os, architecture) = manifest::machine();
    let config = serde_json::json!({
        "architecture": architecture,
        "os": os,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    Digest::of(config.to_string().as_bytes())
}
