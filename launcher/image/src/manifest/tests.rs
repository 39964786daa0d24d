//! Manifests and indexes as tools write them, odd and wrong ones.

use super::*;

fn descriptor(media_type: &str, more: &str) -> String {
    let digest = Digest::of(b"");
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1{more}}}"#)
}

fn platform(os: &str, architecture: &str, variant: &str) -> String {
    let platform = format!(
        r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#
    );
    descriptor("application/vnd.oci.image.manifest.v1+json", &platform)
}

/// The variant and digest's number of each entry that may be this machine's, the best first.
fn order(entries: &[String]) -> Result<Vec<(String, bool)>, ManifestError> {
    let json = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    match parse(json.as_bytes(), "x").unwrap() {
        Parsed::Index(index) => {
            let order = candidates(&index, "x")?.into_iter();
            Ok(order.map(|entry| (entry.platform.to_string(), entry.target.is_ok())).collect())
        }
        Parsed::Manifest(_) => panic!("taken for a manifest"),
    }
}

fn manifest(config: &str, layer: &str) -> Result<Parsed, ManifestError> {
    let (config, layer) = (descriptor(config, ""), descriptor(layer, ""));
    let json = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
    parse(json.as_bytes(), "x")
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[test]
fn the_plain_architecture_is_preferred_and_attestations_are_no_images() {
    let here = Platform::machine().architecture;
    let attestation = platform("linux", &here, "").replace(
        r#""platform""#,
        r#""annotations":{"vnd.docker.reference.type":"attestation-manifest"},"platform""#,
    );
    let order = order(&[
        attestation,
        platform("unknown", "unknown", ""),
        platform("linux", &here, "v4"),
        platform("linux", &here, "v3"),
        platform("Linux", &here, "v1"),
    ]);
    let names: Vec<String> = order.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [format!("linux/{here}"), format!("linux/{here}/v3"), format!("linux/{here}/v4")]
    );
}

#[test]
fn entries_that_say_nothing_come_after_images_for_this_machine_and_artifacts_last() {
    let here = Platform::machine().architecture;
    let image = "application/vnd.oci.image.manifest.v1+json";
    let order = order(&[
        descriptor("application/vnd.dev.cosign.simplesigning.v1+json", ""),
        descriptor(image, r#","artifactType":"application/x""#),
        descriptor(image, r#","platform":{}"#),
        descriptor(image, r#","platform":{"os":"linux","architecture":null}"#),
        platform("", &here, ""),
    ]);
    let names: Vec<String> = order.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&format!("/{here}"), "/", "linux/", "/", "/"]);
}

#[test]
fn an_entry_that_is_not_wanted_spoils_nothing() {
    let here = Platform::machine().architecture;
    let order = |entries: &[&str]| {
        order(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()).unwrap()
    };
    let good = platform("linux", &here, "");
    for bad in [
        "null",
        "5",
        r#"{"digest":"md5:00","size":-1}"#,
        r#"{"digest":5,"platform":[]}"#,
        r#"{"platform":{"os":7}}"#,
        r#"{"digest":"sha512:00","platform":{"os":"windows","architecture":"amd64"}}"#,
    ] {
        let first = order(&[bad, &good]).into_iter().next().unwrap();
        assert_eq!(first, (format!("linux/{here}"), true), "{bad}");
    }
    // One that is wanted is told by its field.
    let bad = good.replace("sha256:", "md5:");
    let json = format!(r#"{{"manifests":[{bad}]}}"#);
    let Parsed::Index(index) = parse(json.as_bytes(), "x").unwrap() else { panic!("no index") };
    let error = candidates(&index, "x").unwrap()[0].target("x").unwrap_err();
    assert!(matches!(error, ManifestError::Entry { .. }), "{error}");
    let error = error.to_string();
    assert!(
        error.starts_with(
            "the manifest of x is not valid: manifests[0].digest is not valid: digest \"md5:"
        ),
        "{error}"
    );
}

#[test]
fn an_image_for_other_machines_lists_them() {
    let error = order(&[
        platform("linux", "s390x", ""),
        platform("linux", "arm", "v7"),
        platform("unknown", "unknown", ""),
    ]);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("x is for linux/arm/v7, linux/s390x; this machine"), "{error}");
}

#[test]
fn nulls_and_absent_fields_are_nothing() {
    let config = descriptor(CONFIG, "");
    for json in [
        format!(r#"{{"config":{config}}}"#),
        format!(r#"{{"schemaVersion":null,"config":{config},"layers":null,"manifests":null}}"#),
        format!(r#"{{"SchemaVersion":2.0,"Config":{config},"Layers":[],"manifests":[]}}"#),
        format!(r#"{{"config":{config},"fsLayers":null,"annotations":null,"urls":5}}"#),
    ] {
        let parsed = parse(json.as_bytes(), "x").unwrap();
        assert!(matches!(parsed, Parsed::Manifest(Manifest { layers, .. }) if layers.is_empty()));
    }
    for json in [r#"{"manifests":null}"#, r#"{"manifests":[],"layers":null,"config":null}"#] {
        let parsed = parse(json.as_bytes(), "x").unwrap();
        assert!(matches!(parsed, Parsed::Index(all) if all.is_empty()), "{json}");
    }
}

#[test]
fn configs_and_layers_whose_type_says_nothing_are_taken() {
    let layer = "application/vnd.oci.image.layer.v1.tar";
    for kind in
        ["text/html", "text/html; charset=utf-8", "application/json", "Application/JSON", ""]
    {
        manifest(kind, layer).unwrap_or_else(|error| panic!("config {kind}: {error}"));
    }
    for kind in ["application/octet-stream", "application/x-gzip", "", "text/plain"] {
        manifest(CONFIG, kind).unwrap_or_else(|error| panic!("layer {kind}: {error}"));
    }
    for artifact in [
        "application/vnd.cncf.helm.config.v1+json",
        "application/vnd.buildkit.cacheconfig.v0",
        "application/vnd.oci.empty.v1+json",
        "application/vnd.docker.plugin.v1+json",
    ] {
        let error = manifest(artifact, layer).unwrap_err();
        assert!(matches!(error, ManifestError::MediaType { .. }), "{artifact}: {error}");
    }
}

#[test]
fn a_layer_that_may_not_be_distributed_is_one_all_the_same() {
    for foreign in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        let Parsed::Manifest(manifest) = manifest(CONFIG, foreign).unwrap() else { panic!() };
        assert!(manifest.layers[0].is_foreign(), "{foreign}");
    }
}

#[test]
fn docker_and_oci_layers_are_taken_and_others_are_named() {
    for good in [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ] {
        manifest(CONFIG, good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    manifest(
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    )
    .unwrap();
    for bad in [
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.nydus.blob.v1",
    ] {
        assert!(matches!(manifest(CONFIG, bad), Err(ManifestError::MediaType { .. })), "{bad}");
    }
    let chart = manifest("application/vnd.cncf.helm.config.v1+json", "text/plain");
    assert!(matches!(chart, Err(ManifestError::MediaType { .. })));
}

#[test]
fn old_ambiguous_and_broken_manifests_are_refused() {
    let one = r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#;
    assert!(matches!(parse(one.as_bytes(), "x"), Err(ManifestError::Schema1 { .. })));
    let config = descriptor(CONFIG, "");
    for both in [
        format!(r#"{{"config":{config},"layers":[],"manifests":[{config}]}}"#),
        format!(r#"{{"layers":[{config}],"manifests":[]}}"#),
    ] {
        assert!(matches!(parse(both.as_bytes(), "x"), Err(ManifestError::Both { .. })), "{both}");
    }
    assert!(matches!(parse(b"[]", "x"), Err(ManifestError::Json { .. })));
    let bad = config.replace(":1}", ":-1}");
    let bad = format!(r#"{{"config":{config},"layers":[{config},{bad}]}}"#);
    let message = Failure::from(parse(bad.as_bytes(), "x").unwrap_err()).message;
    assert_eq!(
        message,
        "the manifest of x is not valid: layers[1].size is -1, which is out of range"
    );
}
