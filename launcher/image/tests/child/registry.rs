//! A small image, as files of every kind and behind a small registry.

use flate2::{Compression, write::GzEncoder};
use image::Digest;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
};

/// An image of two layers: its blobs by digest, the manifest's digest, and the tars.
pub(crate) struct Sample {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifest: Digest,
    pub(crate) config: Vec<u8>,
    pub(crate) tars: [Vec<u8>; 2],
}

impl Sample {
    pub(crate) fn new(architecture: &str) -> Self {
        Self::labelled(architecture, "1")
    }

    /// The same layers for each label, which stands in the config.
    pub(crate) fn labelled(architecture: &str, label: &str) -> Self {
        let tars =
            [tar(&[("etc/motd", b"one"), ("big", &[7; 300_000])]), tar(&[("etc/motd", b"two")])];
        let layers = tars.clone().map(|tar| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&tar).unwrap();
            gzip.finish().unwrap()
        });
        let config = serde_json::to_vec(&serde_json::json!({
            "os": "linux",
            "architecture": architecture,
            "config": { "Cmd": ["/bin/sh"], "ExposedPorts": { "80/tcp": {} }, "Labels": { "l": label } },
            "rootfs": { "type": "layers", "diff_ids": tars.each_ref().map(|tar| Digest::of(tar)) },
        }))
        .unwrap();
        let manifest = serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.each_ref().map(|layer| {
                descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)
            }),
        }))
        .unwrap();
        let digest = Digest::of(&manifest);
        let all = layers.into_iter().chain([config.clone(), manifest]);
        let blobs = all.map(|blob| (Digest::of(&blob).to_string(), blob)).collect();
        Self { blobs, manifest: digest, config, tars }
    }

    pub(crate) fn for_this_machine() -> Self {
        Self::new(if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" })
    }

    /// An OCI layout as files: path and contents.
    fn layout(&self) -> Vec<(String, Vec<u8>)> {
        let manifest = &self.blobs[&self.manifest.to_string()];
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
        entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "1.0" });
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
        let mut files = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.to_string().into_bytes()),
        ];
        for (digest, blob) in &self.blobs {
            files.push((format!("blobs/{}", digest.replace(':', "/")), blob.clone()));
        }
        files
    }

    pub(crate) fn write_layout(&self, folder: &Path) {
        for (path, contents) in self.layout() {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
    }

    pub(crate) fn write_oci_archive(&self, file: &Path) {
        let files = self.layout();
        let files: Vec<_> = files.iter().map(|(path, c)| (path.as_str(), c.as_slice())).collect();
        fs::write(file, tar(&files)).unwrap();
    }

    pub(crate) fn write_docker_archive(&self, file: &Path) {
        let manifest = serde_json::json!([{
            "Config": "config.json",
            "RepoTags": ["sample:1.0"],
            "Layers": ["a/layer.tar", "b/layer.tar"],
        }]);
        let files = [
            ("a/layer.tar", self.tars[0].as_slice()),
            ("b/layer.tar", &self.tars[1]),
            ("config.json", &self.config),
            ("manifest.json", manifest.to_string().as_bytes()),
        ]
        .map(|(path, contents)| (path, contents.to_vec()));
        let files: Vec<_> = files.iter().map(|(path, c)| (*path, c.as_slice())).collect();
        fs::write(file, tar(&files)).unwrap();
    }

    /// A folder as skopeo makes it for `dir:`.
    pub(crate) fn write_dir(&self, folder: &Path) {
        fs::create_dir(folder).unwrap();
        for (digest, blob) in &self.blobs {
            let name = match *digest == self.manifest.to_string() {
                true => "manifest.json",
                false => digest.trim_start_matches("sha256:"),
            };
            fs::write(folder.join(name), blob).unwrap();
        }
    }

    /// Serves it as `sample:1.0` until the process ends; the registry's `HOST:PORT`.
    pub(crate) fn serve(&self) -> String {
        self.serve_to(None)
    }

    /// The same, to those only who send `account`, which is `USER:PASSWORD` in base64.
    pub(crate) fn serve_to(&self, account: Option<&'static str>) -> String {
        let mut pages: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (digest, blob) in &self.blobs {
            pages.insert(format!("/v2/sample/blobs/{digest}"), blob.clone());
        }
        for version in ["1.0", &self.manifest.to_string()] {
            let manifest = self.blobs[&self.manifest.to_string()].clone();
            pages.insert(format!("/v2/sample/manifests/{version}"), manifest);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines =
                    BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                let path = first.split(' ').nth(1).unwrap_or_default();
                let headers: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                let known = |account: &str| headers.iter().any(|line| line.ends_with(account));
                let (status, body) = match pages.get(path) {
                    _ if !account.is_none_or(known) => {
                        ("401 Unauthorized\r\nwww-authenticate: Basic realm=x", &b""[..])
                    }
                    Some(body) => ("200 OK", body.as_slice()),
                    None => ("404 Not Found", &b""[..]),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                // A client that leaves is none of this test's business.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        host
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    serde_json::json!({ "mediaType": media_type, "digest": Digest::of(blob), "size": blob.len() })
}

pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, contents) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, *contents).unwrap();
    }
    tar.into_inner().unwrap()
}
