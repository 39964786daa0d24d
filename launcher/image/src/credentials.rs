//! Credentials for registries: `~/.docker/config.json` and the helper programs it names.

use crate::{reference::DEFAULT_REGISTRY, reference::Reference, settings::Settings};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

/// How Docker names its own registry in its settings.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// The user name a helper program gives with an identity token.
const TOKEN_USER: &str = "<token>";

/// A user's account at a registry.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// An OAuth2 refresh token.
    IdentityToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials(…)")
    }
}

/// Docker's client settings, as far as they are about credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Auth(…)")
    }
}

/// What a helper program answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The credentials for every host that `reference` may be fetched from, by `HOST[:PORT]`.
///
/// Settings that cannot be read and helpers that fail only cause a warning: most images need no
/// credentials, and the registry says so for those that do.
pub(crate) fn find(reference: &Reference, settings: &Settings) -> BTreeMap<String, Credentials> {
    let config = match read() {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!("cannot read Docker's config.json, going on without it: {error}");
            return BTreeMap::new();
        }
    };
    let mirrors = settings.mirrors.get(reference.registry()).into_iter().flatten();
    let hosts = mirrors.filter_map(|mirror| mirror.split_once("://"));
    let hosts = hosts.map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    let hosts = hosts.chain([reference.registry()]);
    hosts.filter_map(|host| Some((host.to_owned(), config.credentials(host)?))).collect()
}

fn read() -> io::Result<DockerConfig> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".docker"))
    });
    let Some(folder) = folder else { return Ok(DockerConfig::default()) };
    match fs::read(folder.join("config.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DockerConfig::default()),
        other => Ok(serde_json::from_slice(&other?)?),
    }
}

impl DockerConfig {
    fn credentials(&self, host: &str) -> Option<Credentials> {
        let key = if host == DEFAULT_REGISTRY { DOCKER_HUB } else { host };
        let for_host = self.cred_helpers.get(key).or_else(|| self.cred_helpers.get(host));
        if let Some(program) = for_host.or(self.creds_store.as_ref()) {
            match ask(program, key) {
                Ok(Some(credentials)) => return Some(credentials),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("docker-credential-{program} failed for {host}: {error}");
                }
            }
        }
        let same = |(other, _): &(&String, &Auth)| host_of(other) == host_of(key);
        let auth = self.auths.get(key).or_else(|| Some(self.auths.iter().find(same)?.1))?;
        auth.credentials()
    }
}

impl Auth {
    fn credentials(&self) -> Option<Credentials> {
        if let Some(token) = self.identitytoken.clone().filter(|token| !token.is_empty()) {
            return Some(Credentials::IdentityToken(token));
        }
        if let (Some(user), Some(password)) = (self.username.clone(), self.password.clone()) {
            return Some(Credentials::Password { user, password });
        }
        let decoded = STANDARD.decode(self.auth.as_ref()?.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (user, password) = decoded.split_once(':')?;
        // Docker pads old entries with zero bytes.
        let password = password.trim_end_matches('\0').to_owned();
        Some(Credentials::Password { user: user.to_owned(), password })
    }
}

/// Keys are hosts or URLs, with or without a path.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Runs `docker-credential-PROGRAM get`; `None` when it knows nothing about `key`.
fn ask(program: &str, key: &str) -> io::Result<Option<Credentials>> {
    let mut child = Command::new(format!("docker-credential-{program}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(key.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(io::Error::other(said.trim().chars().take(200).collect::<String>()));
    }
    let HelperAnswer { username, secret } = serde_json::from_slice(&output.stdout)?;
    Ok(Some(match username.as_str() {
        TOKEN_USER => Credentials::IdentityToken(secret),
        _ => Credentials::Password { user: username, password: secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(config: &str, host: &str) -> Option<String> {
        let config: DockerConfig = serde_json::from_str(config).unwrap();
        match config.credentials(host)? {
            Credentials::Password { user, password } => Some(format!("{user}:{password}")),
            Credentials::IdentityToken(token) => Some(format!("token {token}")),
        }
    }

    #[test]
    fn entries_are_found_however_docker_spelt_the_host() {
        // "dTpw" is u:p.
        for (key, host) in [
            ("example.org", "example.org"),
            ("https://example.org/v1/", "example.org"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("example.org:5000", "example.org:5000"),
        ] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
            assert_eq!(password(&config, host).as_deref(), Some("u:p"), "{key}");
            assert_eq!(password(&config, "other.org"), None);
        }
    }

    #[test]
    fn identity_tokens_and_plain_fields_are_taken() {
        let config = r#"{"auths":{"a":{"identitytoken":"t"},"b":{"username":"u","password":"p"}}}"#;
        assert_eq!(password(config, "a").as_deref(), Some("token t"));
        assert_eq!(password(config, "b").as_deref(), Some("u:p"));
    }
}
