//! Parts that are lost, refused, damaged or broken off, and what is said about it.

use super::*;

/// The registry's layer, which is longer than manifest and config.
fn is_layer(request: &server::Request) -> bool {
    request.blob.as_ref().is_some_and(|blob| blob.len() > 4096)
}

#[test]
fn a_part_that_is_lost_is_named_and_not_put_down_to_the_image() {
    for (part, name) in [("layer", "layer 1 (sha256:"), ("config", "the config (sha256:")] {
        let mut registry = Registry::with_image();
        registry.on("blobs", move |request, _| {
            let body = br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"swept away"}]}"#;
            (is_layer(request) == (part == "layer")).then(|| answer(404, &[], body))
        });
        let (kind, message) = kind_and_message(pull(&registry));
        assert_eq!(kind, FailureKind::NotFound);
        let start = format!("registry http://{} does not have {name}", registry.host());
        assert!(message.starts_with(&start), "{message}");
        assert!(message.contains(": swept away; the name is right"), "{message}");
    }
}

#[test]
fn storage_that_refuses_is_named_with_its_words() {
    let mut registry = Registry::with_image();
    let mut storage = Registry::with_image();
    storage.on("", |_, _| Some(answer(403, &[], b"<html><body>no robots</body></html>")));
    let to = storage.host();
    registry.on("blobs", move |request, _| {
        Some(answer(307, &[("location", &format!("http://{to}{}", request.path))], b""))
    });
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Unreachable);
    let start = format!(
        "http://{} (to which registry http://{} leads) answers 403 for the config (sha256:",
        storage.host(),
        registry.host()
    );
    assert!(message.starts_with(&start) && message.ends_with(": no robots"), "{message}");
}

#[test]
fn a_part_that_is_refused_by_the_registry_is_named() {
    let mut registry = Registry::with_image();
    let body = br#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#;
    registry.on("blobs", |_, _| Some(answer(403, &[], body)));
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Denied);
    assert!(message.contains("does not give out the config (sha256:"), "{message}");
    assert!(message.contains("(quota exceeded); log in"), "{message}");
}

#[test]
fn a_busy_registrys_words_are_passed_on() {
    let mut registry = Registry::with_image();
    registry.on("", |_, _| Some(answer(503, &[], b"maintenance until noon")));
    let (_, message) = kind_and_message(pull(&registry));
    assert!(
        message.contains("it answers 503: maintenance until noon; try again later"),
        "{message}"
    );
}

#[test]
fn a_refused_range_is_read_anew() {
    const WRONG: &[(&str, &str)] = &[("content-range", "bytes 7-60000/60001")];
    for (status, headers) in
        [(416, &[][..]), (400, &[]), (403, &[]), (501, &[]), (206, &[]), (206, WRONG)]
    {
        let mut registry = Registry::with_image();
        registry.on("blobs", move |request, _| {
            request.header("range").map(|_| answer(status, headers, b""))
        });
        // The rules count what was asked, so the first whole layer is this rule's second request.
        registry.on("blobs", |request, nth| {
            let layer = request.blob.as_ref().filter(|_| is_layer(request) && nth < 2)?;
            Some(Answer::cut_short(layer, 0, 1000))
        });
        pull(&registry).unwrap_or_else(|error| panic!("{status}: {error}"));
        let asked = registry.requests();
        let (ranges, whole): (Vec<_>, Vec<_>) = asked
            .iter()
            .filter(|request| is_layer(request))
            .partition(|r| r.header("range").is_some());
        assert_eq!((ranges.len(), whole.len()), (1, 2), "{status}");
    }
}

/// Pulls from a mirror that is bad and a registry that is good.
fn pull_past(mirror: &Registry) -> Result<(Digest, Vec<Event>), Failure> {
    let registry = Registry::with_image();
    let mirrors = [(registry.host(), vec![format!("http://{}", mirror.host())])].into();
    let settings = Settings { mirrors, ..settings() };
    pull_with(&format!("{}/app:1", registry.host()), settings, BTreeMap::new())
}

#[test]
fn a_mirror_that_breaks_in_the_middle_gives_way_to_the_next() {
    let mut mirror = Registry::with_image();
    mirror.on("blobs", |request, nth| {
        let layer = request.blob.as_ref().filter(|_| is_layer(request))?;
        Some(if nth < 2 { Answer::cut_short(layer, 0, 1000) } else { answer(500, &[], b"") })
    });
    let (digest, events) = pull_past(&mirror).unwrap();
    assert_eq!(digest, mirror.manifest_digest());
    let elsewhere = |event: &Event| matches!(event, Event::Retry { reason } if reason.raw().ends_with("; going on elsewhere"));
    assert!(events.iter().any(elsewhere), "{events:?}");
}

#[test]
fn a_mirror_with_damaged_bytes_gives_way_to_the_next() {
    for layer in [true, false] {
        let mut mirror = Registry::with_image();
        mirror.on("blobs", move |request, _| {
            let mut blob = request.blob.clone().filter(|_| is_layer(request) == layer)?;
            let middle = blob.len() / 2;
            blob[middle] ^= 1;
            Some(answer(200, &[], &blob))
        });
        let (digest, events) = pull_past(&mirror).unwrap();
        assert_eq!(digest, mirror.manifest_digest());
        let elsewhere = |event: &Event| matches!(event, Event::Retry { reason } if reason.raw().ends_with("; reading all of it elsewhere"));
        assert!(events.iter().any(elsewhere), "{events:?}");
    }
}

#[test]
fn half_a_manifest_gives_way_to_the_next() {
    let mut mirror = Registry::with_image();
    mirror.on("manifests", |request, _| {
        let manifest = request.blob.as_ref()?;
        Some(answer(200, &[], &manifest[..manifest.len() / 2]))
    });
    pull_past(&mirror).unwrap();
}

#[test]
fn a_mirror_that_breaks_off_is_tried_once_more_only() {
    let mut mirror = Registry::with_image();
    mirror.on("blobs", |request, _| {
        let layer = request.blob.as_ref().filter(|_| is_layer(request))?;
        Some(Answer::cut_short(layer, request.range_start(), request.range_start() + 10))
    });
    pull_past(&mirror).unwrap();
    let layers = mirror.requests().iter().filter(|request| is_layer(request)).count();
    assert_eq!(layers, 2);
}

#[test]
fn a_page_in_place_of_a_manifest_is_told_and_gives_way_to_the_next() {
    let mut mirror = Registry::with_image();
    mirror.on("", |_, _| Some(answer(200, &[], b"<html><body>Log in to our wifi</body></html>")));
    pull_past(&mirror).unwrap();
    let (kind, message) = kind_and_message(pull(&mirror));
    assert_eq!(kind, FailureKind::Mismatch);
    assert!(
        message.contains("that breaks the protocol: it is no JSON: Log in to our wifi"),
        "{message}"
    );
}

#[test]
fn a_size_that_the_manifest_does_not_say_is_the_registrys() {
    let mut registry = Registry::with_image();
    registry.on("manifests", |request, _| {
        let mut json: serde_json::Value = serde_json::from_slice(request.blob.as_ref()?).unwrap();
        json["config"]["size"] = serde_json::Value::Null;
        json["layers"][0].as_object_mut().unwrap().remove("size");
        Some(answer(200, &[], json.to_string().as_bytes()))
    });
    pull(&registry).unwrap();
}
