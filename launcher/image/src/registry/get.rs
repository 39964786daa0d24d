//! One part of an image from an endpoint, with authentication, redirects and retries.

use super::{
    auth,
    challenge::Challenge,
    client::{Answer, Client, Question, said, said_or_status},
    error::RegistryError,
    obstacle::{Obstacle, is_not_http, is_not_tls},
    redirect::follow,
    said::after_colon,
    url::Url,
};
use ureq::http::header;

/// What is wanted of a registry.
pub(super) struct Wanted<'a> {
    /// The image's whole name.
    pub(super) image: &'a str,
    pub(super) repository: &'a str,
    /// `manifests/…` or `blobs/…`.
    pub(super) path: &'a str,
    pub(super) accept: &'a str,
    /// Which part of the image, e.g. `layer 2 (sha256:…)`; `None`: the image itself, by its name.
    pub(super) part: Option<&'a str>,
}

impl Wanted<'_> {
    /// What is wanted, for messages.
    pub(super) fn what(&self) -> String {
        match self.part {
            Some(part) => format!("{part} of {}", self.image),
            None => format!("the manifest of {}", self.image),
        }
    }
}

/// Gets a part from byte `from` on; the answer's status is 200 or 206.
///
/// A login that a host asked for goes to that host only: the same scheme, name and port.
pub(super) fn get(
    client: &Client,
    wanted: &Wanted<'_>,
    from: u64,
) -> Result<(Answer, Url), RegistryError> {
    let mut tries = 0;
    loop {
        let (url, obstacle) = match go(client, wanted, from)? {
            Went::There(answer, url) => return Ok((answer, url)),
            Went::Against(url, obstacle) => (url, obstacle),
        };
        obstacle.wait_or_fail(client, &url, &mut tries)?;
    }
}

/// How one attempt ended.
enum Went {
    There(Answer, Url),
    Against(Url, Obstacle),
}

/// Goes from the endpoint to where it leads, and answers each host's challenge once.
fn go(client: &Client, wanted: &Wanted<'_>, from: u64) -> Result<Went, RegistryError> {
    let endpoint = client.endpoint();
    let path = endpoint.path(wanted.repository, wanted.path);
    let scope = endpoint.scope(wanted.repository);
    let mut url = client.url(&path)?;
    let (mut redirects, mut asked) = (0, false);
    loop {
        let key = (url.origin(), scope.clone());
        let login = client.authorizations().get(&key).cloned();
        let question = Question {
            accept: Some(wanted.accept),
            from,
            authorization: login.as_deref(),
            ..Question::default()
        };
        let answer = match send(client, &mut url, &question) {
            Ok(answer) => answer,
            Err(error) => {
                let obstacle = Obstacle::of(client, &url, &error);
                return Ok(Went::Against(url, obstacle));
            }
        };
        client.settle();
        match answer.status().as_u16() {
            200 | 206 => return Ok(Went::There(answer, url)),
            301 | 302 | 303 | 307 | 308 => {
                redirects += 1;
                url = follow(client, &url, &answer, redirects)?;
                asked = false;
                let _ = said(answer);
            }
            401 if !asked => {
                asked = true;
                // TLS may just have been found.
                let key = (url.origin(), scope.clone());
                client.authorizations().remove(&key);
                let Some(login) = log_in(client, &url, &answer, &scope, wanted)? else {
                    return Err(refused(client, &url, answer, wanted, false));
                };
                let _ = said(answer);
                client.authorizations().insert(key, login);
            }
            401 | 403 => return Err(refused(client, &url, answer, wanted, asked)),
            404 => return Err(missing(client, &url, answer, wanted)),
            407 => {
                let obstacle = Obstacle::proxy_login(client, &url, answer);
                return Ok(Went::Against(url, obstacle));
            }
            408 | 425 | 429 | 500 | 502..=599 => {
                return Ok(Went::Against(url, Obstacle::busy(answer)));
            }
            status => return Err(other_status(client, &url, status, answer, wanted)),
        }
    }
}

/// Sends a question; over TLS in place of plain HTTP where that is for the endpoint to say.
fn send(client: &Client, url: &mut Url, question: &Question<'_>) -> Result<Answer, ureq::Error> {
    let sent = client.send(url, question);
    let over_tls = url.over_tls().filter(|_| client.may_speak_tls() && may_be_tls(&sent));
    let Some(over_tls) = over_tls else { return sent };
    match client.send(&over_tls, question) {
        Err(error) if is_not_tls(&error) => sent,
        answered => {
            client.speak_tls();
            *url = over_tls;
            answered
        }
    }
}

/// Whether a server of TLS answers plain HTTP like this: with a 400, an alert, or by hanging up.
fn may_be_tls(sent: &Result<Answer, ureq::Error>) -> bool {
    match sent {
        Ok(answer) => answer.status() == 400,
        Err(error) => is_not_http(error),
    }
}

/// The `Authorization` that a host's challenge asks for; `None`: there is nothing to say.
fn log_in(
    client: &Client,
    url: &Url,
    answer: &Answer,
    scope: &str,
    wanted: &Wanted<'_>,
) -> Result<Option<String>, RegistryError> {
    let values = answer.headers().get_all(header::WWW_AUTHENTICATE);
    let values = values.iter().filter_map(|value| value.to_str().ok());
    let Some(challenge) = Challenge::parse(values) else { return Ok(None) };
    // The user logged in to the registry, not to wherever it leads.
    let account = client.account().filter(|_| client.is_endpoint(url));
    auth::answer(client, url, account, &challenge, scope, wanted.image)
}

fn refused(
    client: &Client,
    url: &Url,
    answer: Answer,
    wanted: &Wanted<'_>,
    has_token: bool,
) -> RegistryError {
    let (status, at) = (answer.status().as_u16(), client.place(url));
    if !client.is_endpoint(url) {
        return other_status(client, url, status, answer, wanted);
    }
    let said = said_or_status(answer);
    let image = wanted.image.to_owned();
    match (client.account(), wanted.part) {
        (Some(_), _) if status == 401 => RegistryError::Credentials { image, at, said },
        // It did not come to a token, with which a registry tells images that do not exist from private ones.
        (None, _) if status == 401 && !has_token => RegistryError::Login { image, at, said },
        (None, None) => RegistryError::Denied { image, at, said },
        (account, _) => RegistryError::Forbidden {
            at,
            what: wanted.what(),
            said,
            next: match account {
                Some(_) => "ask for the right to read it, or log in again with `docker login`",
                None => "log in with `docker login`, whose credentials are used",
            },
        },
    }
}

fn missing(client: &Client, url: &Url, answer: Answer, wanted: &Wanted<'_>) -> RegistryError {
    let (at, said) = (client.place(url), after_colon(&said(answer)));
    match wanted.part {
        None => RegistryError::NotFound { image: wanted.image.to_owned(), at, said },
        Some(_) => RegistryError::Lost { at, what: wanted.what(), said },
    }
}

fn other_status(
    client: &Client,
    url: &Url,
    status: u16,
    answer: Answer,
    wanted: &Wanted<'_>,
) -> RegistryError {
    let said = after_colon(&said(answer));
    RegistryError::Status { at: client.place(url), status, what: wanted.what(), said }
}
