//! Redirects, and who gets to see a login.

use super::*;

fn account() -> Credentials {
    Credentials::Password { user: "u".into(), password: "p".into() }
}

fn pull_as_user(registry: &Registry) -> Result<(Digest, Vec<Event>), Failure> {
    let name = format!("{}/app:1", registry.host());
    pull_with(&name, settings(), [(registry.host(), account())].into())
}

/// Sends blobs elsewhere, by a `Location` made of the path below `/v2/app/blobs/`.
fn redirect_blobs(registry: &mut Registry, location: impl Fn(&str) -> String + Send + 'static) {
    registry.on("/v2/app/blobs/", move |request, _| {
        let digest = request.path.rsplit('/').next().unwrap();
        Some(answer(307, &[("location", &location(digest))], b""))
    });
}

/// Answers below `/kept/` with the blob of the digest at the path's end.
fn keep_blobs(registry: &mut Registry) {
    let blobs = registry.blobs();
    registry.on("/kept/", move |request, _| {
        let path = request.path.split('?').next().unwrap();
        let blob = &blobs[&format!("/v2/app/blobs/{}", path.rsplit('/').next().unwrap())];
        Some(answer(200, &[], blob))
    });
}

#[test]
fn a_login_goes_along_within_a_host_wherever_it_leads() {
    for absolute in [false, true] {
        let mut registry = Registry::with_image();
        let start = if absolute { format!("http://{}", registry.host()) } else { String::new() };
        registry.on("", |request, _| {
            let welcome = request.header("authorization") == Some("Basic dTpw");
            (!welcome).then(|| answer(401, &[("www-authenticate", "Basic realm=x")], b""))
        });
        redirect_blobs(&mut registry, move |digest| format!("{start}/kept/{digest}"));
        keep_blobs(&mut registry);
        pull_as_user(&registry).unwrap();
    }
}

#[test]
fn a_challenge_after_a_redirect_is_answered_to_the_host_that_made_it() {
    let mut near = Registry::with_image();
    let mut far = Registry::with_image();
    far.require_token("sesame");
    let to = far.host();
    near.on("/v2/", move |request, _| {
        Some(answer(307, &[("location", &format!("http://{to}{}", request.path))], b""))
    });
    pull_as_user(&near).unwrap();
    assert!(near.requests().iter().all(|request| request.header("authorization").is_none()));
    let welcome =
        |request: &server::Request| request.header("authorization") == Some("Bearer sesame");
    assert!(far.requests().iter().any(welcome));
    // The user logged in to the near one only.
    let token = far.requests().into_iter().find(|request| request.path.starts_with("/token"));
    assert_eq!(token.unwrap().header("authorization"), None);
}

#[test]
fn a_token_service_that_redirects_shows_the_password_to_no_other_host() {
    let (mut registry, mut front) = (Registry::with_image(), Registry::with_image());
    let mut elsewhere = Registry::with_image();
    elsewhere.on("/token", |_, _| Some(answer(200, &[], br#"{"token":"sesame"}"#)));
    let to = elsewhere.host();
    front.on("/token", move |_, _| {
        Some(answer(302, &[("location", &format!("http://{to}/token"))], b""))
    });
    let challenge = format!(r#"Bearer realm="http://{}/token""#, front.host());
    registry.on("/v2/", move |request, _| {
        let welcome = request.header("authorization") == Some("Bearer sesame");
        (!welcome).then(|| answer(401, &[("www-authenticate", &challenge)], b""))
    });
    pull_as_user(&registry).unwrap();
    assert_eq!(front.requests()[0].header("authorization"), Some("Basic dTpw"));
    assert_eq!(elsewhere.requests()[0].header("authorization"), None);
}

#[test]
fn a_location_with_raw_characters_is_followed() {
    let mut registry = Registry::with_image();
    redirect_blobs(&mut registry, |digest| format!("/kept/a b/%41/\u{e9}/{digest}?sig=a b%"));
    keep_blobs(&mut registry);
    pull(&registry).unwrap();
    let asked = registry.requests();
    let kept = asked.iter().find(|request| request.path.starts_with("/kept/")).unwrap();
    assert!(kept.path.starts_with("/kept/a%20b/%41/%C3%A9/sha256:"), "{}", kept.path);
    assert!(kept.path.ends_with("?sig=a%20b%"), "{}", kept.path);
}

#[test]
fn a_redirect_to_nowhere_is_told() {
    for (headers, cause) in [
        (
            &[("location", "ftp://x/y")][..],
            "it redirects to \"ftp://x/y\", which is no URL of HTTP",
        ),
        (&[], "it redirects without saying where to"),
    ] {
        let mut registry = Registry::with_image();
        registry.on("manifests", move |_, _| Some(answer(302, headers, b"")));
        let (kind, message) = kind_and_message(pull(&registry));
        assert_eq!(kind, FailureKind::Unreachable);
        assert!(message.contains(cause), "{message}");
    }
}

#[test]
fn redirects_in_a_circle_end() {
    let mut registry = Registry::with_image();
    registry.on("manifests", |request, _| Some(answer(302, &[("location", &request.path)], b"")));
    let (kind, message) = kind_and_message(pull(&registry));
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(message.contains("it redirects more than 10 times"), "{message}");
}
