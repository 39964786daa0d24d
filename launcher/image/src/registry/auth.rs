//! Authentication: what a registry's `WWW-Authenticate` asks for, and the token that answers it.

use super::{RegistryError, client::Client, endpoint::Endpoint};
use crate::fetch::Credentials;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// Longest answer of a token server taken; Docker Hub's have some 5 KiB.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// A token server's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    /// The best challenge in the values of `WWW-Authenticate`: a token, else a password.
    pub(super) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = None;
        for (scheme, parameters) in values.flat_map(challenges) {
            let get = |name: &str| {
                let of_name = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
                parameters.iter().find(of_name).map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = get("realm") {
                    return Some(Self::Bearer {
                        realm,
                        service: get("service"),
                        scope: get("scope"),
                    });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

/// Splits one header value: `Scheme name=value, name="value", Scheme2 …`.
fn challenges(value: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut all: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = value.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), all.last_mut()) {
            (Some(after), Some((_, parameters))) => {
                let (text, after) = parameter(after.trim_start_matches([' ', '\t']));
                parameters.push((word.to_owned(), text));
                rest = after;
            }
            // A parameter of no scheme: not a challenge at all.
            (Some(_), None) => return all,
            (None, _) => {
                all.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    all
}

/// A quoted or bare value, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in quoted.char_indices() {
        match character {
            '"' if !escaped => return (value, &quoted[index + 1..]),
            '\\' if !escaped => escaped = true,
            _ => {
                value.push(character);
                escaped = false;
            }
        }
    }
    (value, "")
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
                    client.ask_token(endpoint, realm, &query, true, None, image)?
                }
                Some(Credentials::Password { user, password }) => {
                    let header = basic(user, password);
                    client.ask_token(endpoint, realm, &query, false, Some(&header), image)?
                }
                None => client.ask_token(endpoint, realm, &query, false, None, image)?,
            };
            Ok(Some(format!("Bearer {token}")))
        }
    }
}

impl Client {
    fn ask_token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        query: &[(&str, &str)],
        post: bool,
        authorization: Option<&str>,
        image: &str,
    ) -> Result<String, RegistryError> {
        let response = self.send_token_request(realm, query, post, authorization, endpoint)?;
        let at = realm.split('?').next().unwrap_or(realm);
        let status = response.status().as_u16();
        if matches!(status, 400..=403) {
            let said = self.said(response);
            let (image, at) = (image.to_owned(), short(at));
            return Err(match self.credentials(endpoint) {
                Some(_) => RegistryError::Credentials { image, at, said },
                None => RegistryError::Denied { image, at, said },
            });
        }
        let what = "a token".to_owned();
        let protocol = |cause: String| RegistryError::Protocol { at: short(at), what, cause };
        if status != 200 {
            return Err(protocol(format!("its status is {status}")));
        }
        let body = self.read_body(endpoint, response, MAX_TOKEN_BYTES, "a token")?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|error| protocol(error.to_string()))?;
        let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
        let token = token.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
        token.ok_or_else(|| RegistryError::Protocol {
            at: short(at),
            what: "a token".to_owned(),
            cause: "there is none in it".to_owned(),
        })
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Challenge> {
        Challenge::parse(values.iter().copied())
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: owned(service),
            scope: owned(scope),
        })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        assert_eq!(
            parse(&[
                r#"Bearer realm="https://a/token",service="s",scope="repository:x/y:pull,push""#
            ]),
            bearer("https://a/token", Some("s"), Some("repository:x/y:pull,push"))
        );
        assert_eq!(
            parse(&["bearer realm=https://a/t , service=s"]),
            bearer("https://a/t", Some("s"), None)
        );
        assert_eq!(
            parse(&[r#"Basic realm="a \"quoted\" realm, with=signs""#]),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn a_token_is_preferred_wherever_it_stands() {
        let token = bearer("https://a", None, None);
        assert_eq!(parse(&[r#"Basic realm="x", Bearer realm="https://a""#]), token);
        assert_eq!(parse(&["Basic realm=x", "Bearer realm=https://a"]), token);
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for bad in [
            "",
            ",",
            "realm=x",
            "Negotiate",
            "Bearer",
            "Bearer service=x",
            "=",
            "\"",
            "Bearer realm",
        ] {
            assert_eq!(parse(&[bad]), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(value in "[ -~]{0,60}") {
            let _ = parse(&[&value]);
        }
    }
}
