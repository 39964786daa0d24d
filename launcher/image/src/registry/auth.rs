//! Authentication: the `Authorization` that answers a registry's challenge.

use super::{challenge::Challenge, client::Client, endpoint::Endpoint, error::RegistryError};
use crate::credentials::Credentials;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// Longest answer of a token server taken; Docker Hub's have some 5 KiB.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// A token server's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The `Authorization` value that answers `challenge`; `None`: there is nothing to say.
pub(super) fn answer(
    client: &Client,
    endpoint: &Endpoint,
    challenge: &Challenge,
    scope: &str,
    image: &str,
) -> Result<Option<String>, RegistryError> {
    let credentials = client.credentials(endpoint);
    match challenge {
        Challenge::Basic => Ok(match credentials {
            Some(Credentials::Password { user, password }) => Some(basic(user, password)),
            _ => None,
        }),
        Challenge::Bearer { realm, service, scope: asked } => {
            // A registry on TLS must not talk a client into sending a password in the clear.
            if !realm.starts_with("https://") && (endpoint.https || !realm.starts_with("http://")) {
                return Err(RegistryError::Protocol {
                    at: endpoint.to_string(),
                    what: "an authentication challenge".to_owned(),
                    cause: format!("its realm {:?} is not https", short(realm)),
                });
            }
            let scope = asked.as_deref().unwrap_or(scope);
            let mut query = vec![("scope", scope)];
            query.extend(service.as_deref().map(|service| ("service", service)));
            let token = match credentials {
                Some(Credentials::IdentityToken(token)) => {
                    query.extend([
                        ("grant_type", "refresh_token"),
                        ("client_id", "launch"),
                        ("refresh_token", token),
                    ]);
                    ask_token(client, endpoint, realm, &query, true, None, image)?
                }
                Some(Credentials::Password { user, password }) => {
                    let header = basic(user, password);
                    ask_token(client, endpoint, realm, &query, false, Some(&header), image)?
                }
                None => ask_token(client, endpoint, realm, &query, false, None, image)?,
            };
            Ok(Some(format!("Bearer {token}")))
        }
    }
}

fn ask_token(
    client: &Client,
    endpoint: &Endpoint,
    realm: &str,
    query: &[(&str, &str)],
    post: bool,
    authorization: Option<&str>,
    image: &str,
) -> Result<String, RegistryError> {
    let response = client.send_token_request(realm, query, post, authorization, endpoint)?;
    let at = realm.split('?').next().unwrap_or(realm);
    let status = response.status().as_u16();
    if matches!(status, 400..=403) {
        let said = client.said(response);
        let (image, at) = (image.to_owned(), short(at));
        return Err(match client.credentials(endpoint) {
            Some(_) => RegistryError::Credentials { image, at, said },
            None => RegistryError::Denied { image, at, said },
        });
    }
    let what = "a token".to_owned();
    let protocol = |cause: String| RegistryError::Protocol { at: short(at), what, cause };
    if status != 200 {
        return Err(protocol(format!("its status is {status}")));
    }
    let body = client.read_body(endpoint, response, MAX_TOKEN_BYTES, "a token")?;
    let answer: TokenAnswer =
        serde_json::from_slice(&body).map_err(|error| protocol(error.to_string()))?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
    let token = token.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
    token.ok_or_else(|| RegistryError::Protocol {
        at: short(at),
        what: "a token".to_owned(),
        cause: "it contains none".to_owned(),
    })
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
