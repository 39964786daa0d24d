//! Logins at registries, as Docker and podman keep them.

mod account;
mod files;
mod helper;

use crate::{reference::Reference, settings::Settings};
pub(crate) use account::Credentials;
use files::Login;
use std::collections::BTreeMap;

/// What is known about logins for one image.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By the registry's or mirror's `HOST[:PORT]`.
    pub(crate) credentials: BTreeMap<String, Credentials>,
    /// Files that cannot be read and helpers that fail, a line each. Most images need no login, so these stop
    /// nothing.
    pub(crate) problems: Vec<String>,
}

/// The credentials for every host that `reference` may be fetched from.
pub(crate) fn find(reference: &Reference, settings: &Settings) -> Found {
    let mut found = Found::default();
    let logins = files::read_all(|name| std::env::var_os(name), &mut found.problems);
    for (host, repository) in settings.places_of(reference) {
        let mut problems = Vec::new();
        let mut logins = logins.iter();
        match logins.find_map(|login| find_in(login, host, &repository, &mut problems)) {
            Some(credentials) => {
                found.credentials.entry(host.to_owned()).or_insert(credentials);
            }
            None => found.problems.extend(problems),
        }
    }
    found
}

/// What one file knows: its helper for the host comes first, as in Docker.
fn find_in(
    login: &Login,
    host: &str,
    repository: &str,
    problems: &mut Vec<String>,
) -> Option<Credentials> {
    let asked = login.helper(host).and_then(|program| {
        let names = files::names_for_helpers(host);
        match names.iter().find_map(|name| helper::ask(program, name).transpose()) {
            Some(Ok(credentials)) => Some(credentials),
            Some(Err(error)) => {
                problems.push(format!(
                    "docker-credential-{program}, which {} names for {host}, fails: {error}",
                    login.name
                ));
                None
            }
            None => None,
        }
    });
    asked.or_else(|| match login.entry(host, repository)?.credentials() {
        Ok(credentials) => credentials,
        Err(cause) => {
            problems.push(format!("the login for {host} in {} is not valid: {cause}", login.name));
            None
        }
    })
}
