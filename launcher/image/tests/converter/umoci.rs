//! The same layers unpacked by umoci: our merged tree is the one other engines make.

use crate::build::Layer;
use crate::corpus;
use crate::host::{Compare, assert_same, has, is_root, read_tree, run};
use crate::run::files;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::path::Path;

/// Writes an OCI layout with one image, `image`, of these layers.
fn write_layout(layers: &[Layer], folder: &Path) {
    std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    let blob = |kind: &str, bytes: &[u8]| {
        let digest = hex(&Sha256::digest(bytes));
        std::fs::write(folder.join("blobs/sha256").join(&digest), bytes).unwrap();
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        })
    };
    let layers: Vec<_> = layers.iter().map(|l| blob("layer.v1.tar", &l.tar())).collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "image" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

#[test]
fn umoci_unpacks_the_same_tree() {
    let name = "umoci_unpacks_the_same_tree";
    if !has("umoci", name) || !is_root(name) {
        return;
    }
    let all = corpus::all().into_iter().map(|layers| (layers, true));
    let odd = corpus::odd_paths().into_iter().map(|layers| (layers, false));
    for ((what, layers), times) in all.chain(odd) {
        println!("{what}");
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        write_layout(&layers, &layout);
        let mut image = layout.into_os_string();
        image.push(":image");
        let out = folder.path().join("out");
        let words = ["raw", "unpack", "--image"].map(OsStr::new);
        run("umoci", &[words[0], words[1], words[2], &image, out.as_os_str()]);
        let theirs = read_tree(&out);
        let compare = Compare {
            owners: true,
            xattrs: true,
            times,
            links: true,
            set_ids: true,
            // The host's file system may count them otherwise (btrfs, overlay).
            directory_links: false,
        };
        assert_same(what, &files(&layers), &theirs, compare);
    }
}
