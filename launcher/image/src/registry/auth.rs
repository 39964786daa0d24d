//! Authentication: the `Authorization` that answers a registry's challenge.

use super::{
    challenge::Challenge,
    client::{Answer, Client, Question, said_or_status},
    error::RegistryError,
    login::basic,
    obstacle::Obstacle,
    redirect::follow,
    url::Url,
};
use crate::credentials::Credentials;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// Longest answer of a token server taken; Docker Hub's have some 5 KiB.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// A token server's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The `Authorization` value that answers the `challenge` of `url`; `None`: there is nothing to say.
pub(super) fn answer(
    client: &Client,
    url: &Url,
    account: Option<&Credentials>,
    challenge: &Challenge,
    scope: &str,
    image: &str,
) -> Result<Option<String>, RegistryError> {
    let Challenge::Bearer { realm, service, scope: asked } = challenge else {
        return Ok(match account {
            Some(Credentials::Password { user, password }) => Some(basic(user, password)),
            _ => None,
        });
    };
    let protocol = |cause: String| RegistryError::Protocol {
        at: client.place(url),
        what: "an authentication challenge".to_owned(),
        cause,
    };
    let at = Url::parse(realm.as_bytes())
        .ok_or_else(|| protocol(format!("its realm {:?} is no URL of HTTP", short(realm))))?;
    // A registry on TLS must not talk a client into sending a password in the clear.
    if !at.origin().https && (client.https() || url.origin().https) {
        return Err(protocol(format!("its realm {:?} is not https", short(realm))));
    }
    let mut query = vec![("scope", asked.as_deref().unwrap_or(scope))];
    query.extend(service.as_deref().map(|service| ("service", service)));
    let authorization = match account {
        Some(Credentials::Password { user, password }) => Some(basic(user, password)),
        _ => None,
    };
    let refresh = match account {
        Some(Credentials::IdentityToken(token)) => Some(token.as_str()),
        _ => None,
    };
    query.extend(refresh.into_iter().flat_map(|token| {
        [("grant_type", "refresh_token"), ("client_id", "launch"), ("refresh_token", token)]
    }));
    let question = Question {
        authorization: authorization.as_deref(),
        form: refresh.is_some().then_some(&query[..]),
        ..Question::default()
    };
    let realm = if refresh.is_some() { realm.clone() } else { with_query(realm, &query) };
    let realm = Url::parse(realm.as_bytes()).unwrap_or(at);
    let (answer, at) = ask(client, realm, &question)?;
    let token = read_token(client, answer, &at, account, image)?;
    Ok(Some(format!("Bearer {token}")))
}

/// Asks a token server, with the same patience as the registry.
fn ask(
    client: &Client,
    realm: Url,
    question: &Question<'_>,
) -> Result<(Answer, Url), RegistryError> {
    let (mut url, mut redirects, mut tries) = (realm.clone(), 0, 0);
    loop {
        let own = url.origin() == realm.origin();
        // Neither a password nor a refresh token goes to another host than the one that was named.
        let question = Question {
            authorization: question.authorization.filter(|_| own),
            form: question.form.filter(|_| own),
            ..Question::default()
        };
        let obstacle = match client.send(&url, &question) {
            Err(error) => Obstacle::of(client, &url, &error),
            Ok(answer) => match answer.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    redirects += 1;
                    url = follow(client, &url, &answer, redirects)?;
                    continue;
                }
                407 => Obstacle::proxy_login(client, &url, answer),
                408 | 425 | 429 | 500..=599 => Obstacle::busy(answer),
                _ => return Ok((answer, url)),
            },
        };
        obstacle.wait_or_fail(client, &url, &mut tries)?;
    }
}

fn read_token(
    client: &Client,
    answer: Answer,
    at: &Url,
    account: Option<&Credentials>,
    image: &str,
) -> Result<String, RegistryError> {
    let (status, at) = (answer.status().as_u16(), client.place(at));
    if matches!(status, 400..=404) {
        let (image, said) = (image.to_owned(), said_or_status(answer));
        return Err(match account {
            Some(_) => RegistryError::Credentials { image, at, said },
            None => RegistryError::Denied { image, at, said },
        });
    }
    let protocol = |cause: String| RegistryError::Protocol {
        at: at.clone(),
        what: "a token".to_owned(),
        cause,
    };
    if status != 200 {
        return Err(protocol(format!("its status is {status}")));
    }
    let body = client.read_body(at.clone(), answer, MAX_TOKEN_BYTES, "a token")?;
    let answer: TokenAnswer =
        serde_json::from_slice(&body).map_err(|error| protocol(error.to_string()))?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
    let token = token.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
    token.filter(|token| !token.is_empty()).ok_or_else(|| protocol("it contains none".to_owned()))
}

/// `url` with parameters behind those that it has.
fn with_query(url: &str, query: &[(&str, &str)]) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pairs = query.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}{}", pairs.collect::<Vec<_>>().join("&"))
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
