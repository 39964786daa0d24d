//! Redirects: where a registry leads.

use super::{
    client::{Answer, Client},
    error::RegistryError,
    url::Url,
};
use ureq::http::header;

/// How many redirects are followed, as Go has it.
const MAX_REDIRECTS: u32 = 10;

/// Where a redirect leads.
pub(super) fn follow(
    client: &Client,
    from: &Url,
    answer: &Answer,
    redirects: u32,
) -> Result<Url, RegistryError> {
    let failed = |cause: String, next: &str| RegistryError::Unreachable {
        at: client.place(from),
        cause,
        next: next.to_owned(),
    };
    let broken = "it does not work as a registry";
    if redirects > MAX_REDIRECTS {
        return Err(failed(format!("it redirects more than {MAX_REDIRECTS} times"), broken));
    }
    let Some(location) = answer.headers().get(header::LOCATION) else {
        return Err(failed("it redirects without saying where to".to_owned(), broken));
    };
    let location = location.as_bytes();
    let Some(to) = from.join(location) else {
        let shown: String = String::from_utf8_lossy(location).chars().take(200).collect();
        return Err(failed(format!("it redirects to {shown:?}, which is no URL of HTTP"), broken));
    };
    if client.https() && !to.origin().https {
        let to = to.origin();
        return Err(failed(format!("it leads to {to}"), "plain HTTP is refused after HTTPS"));
    }
    Ok(to)
}
