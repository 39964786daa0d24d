//! Archives and layouts that are odd, wrong or hostile.

use super::error::ArchiveError;
use super::*;
use crate::manifest::{Parsed, parse};
use crate::{FailureKind, digest::Digest, failure::Failure, platform::Platform};
use std::io;
use std::{collections::BTreeMap, fs::File, io::Read, io::Write as _, sync::Arc};
use tar::{Builder, EntryType, Header};

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header
}

/// Files by name, and links as `name -> target`.
fn archive(files: &[(&str, &[u8])], links: &[(EntryType, &str, &str)]) -> File {
    let mut tar = Builder::new(tempfile::tempfile().unwrap());
    for (path, contents) in files {
        let mut header = header(EntryType::Regular, contents.len() as u64);
        tar.append_data(&mut header, path, *contents).unwrap();
    }
    for (kind, path, target) in links {
        tar.append_link(&mut header(*kind, 0), path, target).unwrap();
    }
    let mut file = tar.into_inner().unwrap();
    io::Seek::rewind(&mut file).unwrap();
    file
}

fn read(index: &TarIndex, path: &str) -> Result<Vec<u8>, Failure> {
    let (size, mut reader) = index.open(path)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| Failure::from_io(error, "read"))?;
    assert_eq!(bytes.len() as u64, size);
    Ok(bytes)
}

#[test]
fn files_are_found_through_links_and_odd_spellings() {
    let file = archive(
        &[("./a/layer.tar", b"one"), ("a/layer.tar", b"two")],
        &[
            (EntryType::Symlink, "b/layer.tar", "../a/layer.tar"),
            (EntryType::Link, "c/layer.tar", "b/layer.tar"),
            (EntryType::Symlink, "loop", "loop"),
            (EntryType::Symlink, "out", "../../etc/passwd"),
        ],
    );
    let index = TarIndex::read(file, "x").unwrap();
    for path in ["a/layer.tar", "/a//layer.tar", "b/layer.tar", "c/layer.tar"] {
        assert_eq!(read(&index, path).unwrap(), b"two", "{path}");
    }
    for path in ["loop", "out", "nothing"] {
        let failure = read(&index, path).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotFound, "{failure}");
    }
}

#[test]
fn a_file_of_more_than_8_gib_is_as_large_as_its_extended_header_says() {
    const LARGE: u64 = (8 << 30) + 700;
    let mut file = tempfile::tempfile().unwrap();
    let mut tar = Builder::new(&mut file);
    let size = LARGE.to_string();
    tar.append_pax_extensions([("mtime", &b"1.5"[..]), ("size", size.as_bytes())]).unwrap();
    tar.append_data(&mut header(EntryType::Regular, 0), "large", io::empty()).unwrap();
    drop(tar);
    // Its contents are a hole; then comes what comes after it.
    let end = 3 * 512 + LARGE.next_multiple_of(512);
    file.set_len(end).unwrap();
    io::Seek::seek(&mut file, io::SeekFrom::Start(end)).unwrap();
    let mut tar = Builder::new(&mut file);
    tar.append_data(&mut header(EntryType::Regular, 5), "small", &b"after"[..]).unwrap();
    tar.finish().unwrap();
    drop(tar);
    io::Seek::rewind(&mut file).unwrap();
    let index = TarIndex::read(file, "x").unwrap();
    assert_eq!(index.open("large").unwrap().0, LARGE);
    assert_eq!(read(&index, "small").unwrap(), b"after");
}

#[test]
fn an_archive_that_ends_early_or_lies_about_sizes_is_an_error() {
    for size in [10_000, u64::MAX, u64::MAX - 511, 1 << 62] {
        let mut header = header(EntryType::Regular, 0);
        header.set_path("file").unwrap();
        header.set_size(size);
        header.set_cksum();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(&[1; 600]).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let result = TarIndex::read(file, "x").map_err(Failure::from);
        let failure = result.and_then(|index| read(&index, "file")).unwrap_err();
        assert!(
            failure.message.contains('x') || failure.message.contains("ends early"),
            "{failure}"
        );
    }
}

#[test]
fn what_is_no_tar_is_named_for_what_it_is() {
    for (bytes, message) in [
        (&b"\x1f\x8b\x08 and more"[..], "x is compressed with gzip; decompress it first"),
        (&[b'#'; 700][..], "x is not a tar archive, or a damaged one"),
    ] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let error = TarIndex::read(file, "x").map(drop).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

fn docker(manifest: &str) -> TarIndex {
    let files = [("manifest.json", manifest.as_bytes()), ("c.json", b"{}"), ("l.tar", b"")];
    TarIndex::read(archive(&files, &[]), "x").unwrap()
}

fn docker_failure(manifest: &str, wanted: Option<&str>) -> String {
    let wanted = wanted.map(|wanted| wanted.parse().unwrap());
    let opened = DockerArchive::open(docker(manifest), wanted.as_ref());
    opened.map(drop).unwrap_err().message
}

#[test]
fn of_several_images_one_is_named_as_docker_would() {
    let two = r#"[{"Config":"c.json","RepoTags":["a:1","b:2"],"Layers":[]},
        {"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]"#;
    let wanted = "b:2".parse().unwrap();
    let image = DockerArchive::open(docker(two), Some(&wanted)).unwrap();
    assert_eq!(image.names(), ["docker.io/library/a:1", "docker.io/library/b:2"]);
    assert_eq!(image.config(), "{}");
    let message = docker_failure(two, None);
    assert!(message.starts_with("x has several images; name one, as in x:docker.io/"), "{message}");
    let message = docker_failure(two, Some("c"));
    let id = &Digest::of(b"{}").hex()[..12];
    let there = format!("there are docker.io/library/a:1, docker.io/library/b:2, @1 ({id})");
    assert!(message.ends_with(&there), "{message}");
    assert!(docker_failure("[]", None).starts_with("x has no image at all"));
    assert!(docker_failure("{", None).starts_with("manifest.json of x is not valid: "));
    let missing = r#"[{"Config":"none.json","RepoTags":[],"Layers":[]}]"#;
    assert_eq!(docker_failure(missing, None), "none.json of x is not there");
}

#[test]
fn of_several_images_without_a_name_one_is_chosen_by_id_or_place() {
    let one = r#"{"os":"linux"}"#;
    let manifest =
        r#"[{"Config":"1","RepoTags":null,"Layers":"l"},{"config":"2"},{"Config":5},null]"#;
    let open = |wanted: &str| {
        let files = [
            ("manifest.json", manifest.as_bytes()),
            ("1", b"{}"),
            ("2", one.as_bytes()),
            ("l", b""),
        ];
        let index = TarIndex::read(archive(&files, &[]), "x").unwrap();
        let wanted = (!wanted.is_empty()).then(|| wanted.parse().unwrap());
        let opened = DockerArchive::open(index, wanted.as_ref());
        opened.map(|image| image.config().to_owned()).map_err(|failure| failure.message)
    };
    let (first, second) = (Digest::of(b"{}").hex(), Digest::of(one.as_bytes()).hex());
    for (wanted, config) in [
        ("@0", "{}"),
        ("@1", one),
        (&second, one),
        (&second[..12], one),
        (&format!("sha256:{first}"), "{}"),
    ] {
        assert_eq!(open(wanted).unwrap(), config, "{wanted}");
    }
    let message = format!(
        "x has several images; name one, as in x:@0: @0 ({}), @1 ({}), @2, @3",
        &first[..12],
        &second[..12]
    );
    assert_eq!(open("").unwrap_err(), message);
    assert!(open("@4").unwrap_err().starts_with("x has no image @4; there are @0 ("));
    assert!(open("abcdef").unwrap_err().starts_with("x has no image abcdef; there are "));
    let error = open("@2").unwrap_err();
    assert_eq!(error, "manifest.json of x is not valid: [2].Config is a number, not a text");
    assert_eq!(open("@3").unwrap_err(), "manifest.json of x is not valid: [3].Config is missing");
}

#[test]
fn layers_and_diff_ids_have_to_be_as_many() {
    let Platform { os, architecture, .. } = Platform::machine();
    let config = format!(r#"{{"os":"{os}","architecture":"{architecture}"}}"#);
    let manifest = br#"[{"Config":"c.json","RepoTags":[],"Layers":["l.tar"]}]"#;
    let files = [("manifest.json", &manifest[..]), ("c.json", config.as_bytes()), ("l.tar", b"")];
    let index = TarIndex::read(archive(&files, &[]), "x").unwrap();
    let image = DockerArchive::open(index, None).unwrap();
    let limits = crate::Limits::default();
    let failure = image.plan(&limits).map(drop).unwrap_err();
    assert_eq!(failure.message, "x has 1 layers, but its config has 0 diff IDs");
    let few = crate::Limits { max_layers: 0, ..limits };
    let failure = image.plan(&few).map(drop).unwrap_err();
    assert!(failure.message.starts_with("x has 1 layers: more than 0; raise max_layers under"));
}

struct Memory(BTreeMap<String, Vec<u8>>);

impl layout::Files for Memory {
    fn open(&self, path: &str) -> Result<(u64, Box<dyn Read + Send>), Failure> {
        let missing = || ArchiveError::NoFile { archive: "x".to_owned(), file: path.to_owned() };
        let bytes = self.0.get(path).ok_or_else(missing)?.clone();
        Ok((bytes.len() as u64, Box::new(io::Cursor::new(bytes))))
    }
}

/// A layout whose index has an entry for each of (tag, platform), pointing to `{"n":…}`.
fn layout(entries: &[(Option<&str>, Option<&str>)]) -> Result<Layout, Failure> {
    let mut files = BTreeMap::new();
    let mut all = Vec::new();
    for (number, (tag, architecture)) in entries.iter().enumerate() {
        let blob = format!(r#"{{"n":{number}}}"#).into_bytes();
        let digest = Digest::of(&blob);
        let mut entry = serde_json::json!({ "digest": digest, "size": blob.len() });
        if let Some(tag) = tag {
            entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": tag });
        }
        if let Some(architecture) = architecture {
            entry["platform"] = serde_json::json!({ "os": "linux", "architecture": architecture });
        }
        files.insert(format!("blobs/sha256/{}", digest.hex()), blob);
        all.push(entry);
    }
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": all }).to_string();
    files.insert("index.json".to_owned(), index.into_bytes());
    files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    Layout::open(Box::new(Memory(files)), "x")
}

fn top(entries: &[(Option<&str>, Option<&str>)], tag: Option<&str>) -> Result<String, String> {
    let top = layout(entries).unwrap().top(tag);
    top.map(|json| String::from_utf8(json).unwrap()).map_err(|failure| failure.message)
}

#[test]
fn a_layouts_image_is_chosen_by_tag_or_by_being_the_only_one() {
    let two = [(Some("1"), None), (Some("2"), None)];
    assert_eq!(top(&two, Some("2")).unwrap(), r#"{"n":1}"#);
    assert_eq!(top(&two[..1], None).unwrap(), r#"{"n":0}"#);
    assert_eq!(top(&two, None).unwrap_err(), "x has several images; name one, as in x:1: 1, 2");
    assert_eq!(top(&two, Some("3")).unwrap_err(), "x has no image with tag \"3\"; there are 1, 2");
    let named = [(Some("docker.io/library/app:1"), None), (Some("2"), None)];
    assert_eq!(top(&named, Some("app:1")).unwrap(), r#"{"n":0}"#);
    let bare = [(Some("1"), None), (None, None)];
    assert_eq!(top(&bare, Some("@1")).unwrap(), r#"{"n":1}"#);
    let digest = Digest::of(br#"{"n":1}"#);
    for wanted in [&digest.to_string(), &digest.hex()[..12]] {
        assert_eq!(top(&bare, Some(wanted)).unwrap(), r#"{"n":1}"#, "{wanted}");
    }
    assert_eq!(top(&bare, None).unwrap_err(), "x has several images; name one, as in x:1: 1, @1");
    assert_eq!(top(&[], None).unwrap_err(), "x has no image at all; there are no names");
}

#[test]
fn one_image_for_several_platforms_is_one_image() {
    let here = Platform::machine().architecture;
    let both = [(Some("1"), Some("s390x")), (Some("1"), Some(&here))];
    assert_eq!(top(&both, None).unwrap(), r#"{"n":1}"#);
    let error = top(&[(None, Some("s390x")), (None, Some("riscv64"))], None).unwrap_err();
    assert!(error.starts_with("x is for linux/riscv64, linux/s390x; "), "{error}");
}

#[test]
fn what_an_index_does_not_say_is_seen_in_the_configs() {
    let mut files = BTreeMap::new();
    let mut put = |json: serde_json::Value| {
        let blob = json.to_string().into_bytes();
        let digest = Digest::of(&blob);
        let entry = serde_json::json!({ "digest": digest, "size": blob.len() });
        files.insert(format!("blobs/sha256/{}", digest.hex()), blob);
        entry
    };
    let config = put(serde_json::json!({ "os": "linux", "architecture": "s390x" }));
    let other = put(serde_json::json!({ "config": config }));
    let config = put(serde_json::json!({ "os": "linux" }));
    let right = put(serde_json::json!({ "config": config }));
    let lost = serde_json::json!({ "digest": Digest::of(b"lost"), "size": 4 });
    let foreign = put(serde_json::json!({ "manifests": [other.clone()] }));
    let nested = put(serde_json::json!({ "manifests": [lost, other, right.clone()] }));
    let index = serde_json::json!({ "manifests": [foreign, nested.clone()] });
    files.insert("index.json".to_owned(), index.to_string().into_bytes());
    let layout = Layout::open(Box::new(Memory(files)), "x").unwrap();
    let top = layout.top(None).unwrap();
    let (documents, manifest) = crate::oci::resolve(&layout, top, "x").unwrap();
    let found: Vec<String> =
        documents.iter().map(|json| Digest::of(json.as_bytes()).to_string()).collect();
    assert_eq!(
        found,
        [&nested["digest"], &right["digest"]].map(|d| d.as_str().unwrap().to_owned())
    );
    assert_eq!(manifest.config.digest.to_string(), config["digest"].as_str().unwrap());
}

#[test]
fn a_layer_that_is_nowhere_because_it_may_not_be_distributed_is_told_as_such() {
    let mut files = BTreeMap::new();
    let config = br#"{"rootfs":{"diff_ids":["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]}}"#;
    let digest = Digest::of(config);
    files.insert(format!("blobs/sha256/{}", digest.hex()), config.to_vec());
    files.insert("index.json".to_owned(), b"{}".to_vec());
    let layout = Layout::open(Box::new(Memory(files)), "x").unwrap();
    let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    let manifest = serde_json::json!({
        "config": { "digest": digest, "size": config.len() },
        "layers": [{ "digest": Digest::of(b"{}"), "size": 2, "mediaType": kind }],
    });
    let manifest = manifest.to_string();
    let Ok(Parsed::Manifest(manifest)) = parse(manifest.as_bytes(), "x") else {
        panic!("no manifest")
    };
    let plan = crate::oci::plan(&layout, manifest, "x", &crate::Limits::default()).unwrap();
    let open = plan.layers.into_iter().next().unwrap().open;
    let failure = open().map(drop).unwrap_err();
    assert_eq!(
        failure.message,
        format!("layer 1 of x may not be distributed ({kind:?}) and is not there")
    );
}

#[test]
fn what_skopeo_makes_for_dir_is_read() {
    let manifest = br#"{"config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}"#;
    let entry = serde_json::json!({ "digest": Digest::of(manifest), "size": manifest.len() });
    let index = serde_json::json!({ "manifests": [entry] }).to_string().into_bytes();
    let files = [
        ("manifest.json".to_owned(), index),
        (format!("{}.manifest.json", Digest::of(manifest).hex()), manifest.to_vec()),
        (Digest::of(b"{}").hex(), b"{}".to_vec()),
    ];
    let dir = Dir::new(Box::new(Memory(files.into())), "x");
    let (_, manifest) = crate::oci::resolve(&dir, dir.top().unwrap(), "x").unwrap();
    let plan = crate::oci::plan(&dir, manifest, "x", &crate::Limits::default()).unwrap();
    assert_eq!(plan.config.unwrap(), "{}");
    let failure = Dir::new(Box::new(Memory(BTreeMap::new())), "x").top().unwrap_err();
    assert!(failure.message.ends_with("it has no manifest.json"), "{failure}");
}

#[test]
fn an_archive_that_is_compressed_or_a_pipe_is_unpacked_first() {
    let plain = std::io::read_to_string(archive(&[("f", b"contents")], &[])).unwrap().into_bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    let file = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    };
    let pipe = |bytes: &[u8]| {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        File::from(std::os::fd::OwnedFd::from(reader))
    };
    let limits = crate::Limits::default();
    let gzip = gzip.finish().unwrap();
    for stored in [file(&plain), file(&gzip), file(&zstd), pipe(&plain), pipe(&gzip)] {
        let file = seekable(stored, "x", &limits, tempfile::tempfile).unwrap();
        assert_eq!(read(&TarIndex::read(file, "x").unwrap(), "f").unwrap(), b"contents");
    }
    let nowhere = || Err(io::ErrorKind::Unsupported.into());
    seekable(file(&plain), "x", &limits, nowhere).unwrap();
    let xz = seekable(file(b"\xfd7zXZ\0 and more"), "x", &limits, nowhere).unwrap_err();
    assert_eq!(xz.message, "x is compressed with xz; decompress it first");
    let few = crate::Limits { max_disk_bytes: 1000, ..limits };
    let failure = seekable(file(&gzip), "x", &few, tempfile::tempfile).unwrap_err();
    let message = "x is too large when it is decompressed: more than 1000; raise max_disk_bytes";
    assert!(failure.message.starts_with(message), "{failure}");
}

#[test]
fn a_changed_manifest_in_a_layout_is_told() {
    let digest = Digest::of(b"{}");
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{digest}","size":2}}]}}"#);
    let files = [
        ("index.json".to_owned(), index.into_bytes()),
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        (format!("blobs/sha256/{}", digest.hex()), b"[]".to_vec()),
    ];
    let bad = Layout::open(Box::new(Memory(files.into())), "x").unwrap();
    let failure = bad.top(None).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Mismatch, "{failure}");
}

#[test]
fn an_archive_of_the_other_kind_says_so() {
    let files = |name: &str| TarIndex::read(archive(&[(name, b"[]")], &[]), "docker-archive:/x:1");
    let failure = DockerArchive::open(files("index.json").unwrap(), None).map(drop).unwrap_err();
    let message = "docker-archive:/x:1 has an OCI layout's index.json and no manifest.json; write oci-archive:";
    assert!(failure.message.starts_with(message), "{failure}");
    let files = files("manifest.json").unwrap();
    let failure = Layout::open(Box::new(files), "oci-archive:/x").map(drop).unwrap_err();
    let message = "oci-archive:/x has a docker-archive's manifest.json and no index.json; write docker-archive:";
    assert!(failure.message.starts_with(message), "{failure}");
}

#[test]
fn a_folder_that_is_no_layout_is_said_to_be_none() {
    struct Nothing;
    impl crate::host::Host for Nothing {
        fn event(&self, _: crate::Event) {}
        fn open(&self, _: &str) -> io::Result<File> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn scratch(&self) -> io::Result<File> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn resolved(&self, _: crate::host::Resolved) -> io::Result<Option<File>> {
            Ok(None)
        }
    }
    let folder = Folder { host: Arc::new(Nothing), name: "x".to_owned() };
    let failure = Layout::open(Box::new(folder), "x").map(drop).unwrap_err();
    assert_eq!(failure.message, "x is not an OCI layout: it has no oci-layout");
}
