//! One request to a registry, with authentication and retries.

use super::{
    auth,
    challenge::Challenge,
    client::{Answer, Client},
    endpoint::Endpoint,
    error::RegistryError,
};
use ureq::http::header;

/// Gets `path` of `repository`, from byte `from` on; the answer's status is 200 or 206.
///
/// Redirects are followed; ureq leaves out `Authorization` from the first one on.
pub(super) fn get(
    client: &Client,
    endpoint: &Endpoint,
    repository: &str,
    path: &str,
    accept: &str,
    from: u64,
    image: &str,
) -> Result<Answer, RegistryError> {
    let url = endpoint.url(repository, path);
    let scope = endpoint.scope(repository);
    let key = (endpoint.to_string(), scope.clone());
    let mut asked = false;
    let mut tries = 0;
    loop {
        let authorization = client.authorizations().get(&key).cloned();
        let obstacle = match client.send(endpoint, &url, accept, from, authorization.as_deref()) {
            Err(error) => client.obstacle(&error),
            Ok(answer) => match answer.status().as_u16() {
                200 | 206 => return Ok(answer),
                401 if !asked => {
                    asked = true;
                    client.authorizations().remove(&key);
                    let values = answer.headers().get_all(header::WWW_AUTHENTICATE);
                    let values = values.iter().filter_map(|value| value.to_str().ok());
                    let challenge = Challenge::parse(values);
                    let found = match &challenge {
                        Some(challenge) => {
                            auth::answer(client, endpoint, challenge, &scope, image)?
                        }
                        None => None,
                    };
                    let Some(found) = found else {
                        return Err(client.refused(endpoint, image, answer));
                    };
                    client.authorizations().insert(key.clone(), found);
                    continue;
                }
                401 | 403 => return Err(client.refused(endpoint, image, answer)),
                404 => {
                    let (image, at) = (image.to_owned(), endpoint.to_string());
                    return Err(RegistryError::NotFound { image, at });
                }
                408 | 425 | 429 | 500..=599 => client.busy(answer),
                status => {
                    let said = match client.said(answer) {
                        said if said.is_empty() => said,
                        said => format!(": {said}"),
                    };
                    let at = endpoint.to_string();
                    return Err(RegistryError::Status { at, status, what: path.to_owned(), said });
                }
            },
        };
        client.back_off_or_fail(endpoint, &mut tries, obstacle)?;
    }
}
