//! Credential helpers: programs that keep logins for Docker and podman.

use super::account::Credentials;
use crate::failure::plain;
use serde::Deserialize;
use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

/// The user name a helper program gives with an identity token.
const TOKEN_USER: &str = "<token>";

/// What a helper program answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Runs `docker-credential-PROGRAM get`; `None` when it knows nothing about `name`.
pub(super) fn ask(program: &str, name: &str) -> Result<Option<Credentials>, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "it is not installed".to_owned(),
        _ => plain(&error),
    };
    let mut child = Command::new(format!("docker-credential-{program}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not listen says why on its output.
        let _ = stdin.write_all(name.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        if said.to_ascii_lowercase().contains("not found") {
            return Ok(None);
        }
        let said: String = said.trim().chars().take(200).collect();
        return Err(if said.is_empty() { format!("it left with {}", output.status) } else { said });
    }
    let Answer { username, secret } =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    Ok(match (username.as_str(), secret.as_str()) {
        (_, "") => None,
        (TOKEN_USER, _) => Some(Credentials::IdentityToken(secret)),
        _ => Some(Credentials::Password { user: username, password: secret }),
    })
}
