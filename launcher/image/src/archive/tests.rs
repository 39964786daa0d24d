//! Archives and layouts that are odd, wrong or hostile.

use super::error::ArchiveError;
use super::*;
use crate::{FailureKind, digest::Digest, failure::Failure, manifest};
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
    assert!(
        message.ends_with("there are docker.io/library/a:1, docker.io/library/b:2"),
        "{message}"
    );
    assert!(docker_failure("[]", None).starts_with("x has no image at all"));
    assert!(docker_failure("{", None).starts_with("manifest.json of x is not valid: "));
    let missing = r#"[{"Config":"none.json","RepoTags":[],"Layers":[]}]"#;
    assert_eq!(docker_failure(missing, None), "none.json of x is not there");
}

#[test]
fn layers_and_diff_ids_have_to_be_as_many() {
    let (os, architecture) = manifest::machine();
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
    assert_eq!(top(&[], None).unwrap_err(), "x has no image at all; there are no names");
}

#[test]
fn one_image_for_several_platforms_is_one_image() {
    let (_, here) = manifest::machine();
    let both = [(Some("1"), Some("s390x")), (Some("1"), Some(here))];
    assert_eq!(top(&both, None).unwrap(), r#"{"n":1}"#);
    let error = top(&[(None, Some("s390x")), (None, Some("riscv64"))], None).unwrap_err();
    assert!(error.starts_with("x is for linux/riscv64, linux/s390x; "), "{error}");
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
fn a_folder_that_is_no_layout_is_said_to_be_none() {
    struct Nothing;
    impl crate::host::Host for Nothing {
        fn event(&self, _: crate::Event) {}
        fn open(&self, _: &str) -> io::Result<File> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn resolved(&self, _: crate::host::Resolved) -> io::Result<Option<File>> {
            Ok(None)
        }
    }
    let folder = Folder { host: Arc::new(Nothing), name: "x".to_owned() };
    let failure = Layout::open(Box::new(folder), "x").map(drop).unwrap_err();
    assert_eq!(failure.message, "x is not an OCI layout: it has no oci-layout");
}
