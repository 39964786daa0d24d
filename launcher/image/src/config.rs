//! Image configs: what an image says about the app in it, as OCI's image-spec and Docker have it.

use contract::Untrusted;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// What an image says about itself: OCI's image config with the nesting taken out.
///
/// Absent and null fields are empty. All texts come from the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Go's name of the processor, e.g. `amd64`.
    pub architecture: Untrusted,
    /// Go's name of the system, e.g. `linux`.
    pub os: Untrusted,
    /// When the image was made, RFC 3339; empty if it does not say.
    pub created: Untrusted,
    /// The first part of the arguments.
    pub entrypoint: Vec<Untrusted>,
    /// The second part of the arguments.
    pub cmd: Vec<Untrusted>,
    /// `NAME=value` each.
    pub env: Vec<Untrusted>,
    /// Absolute; empty means `/`.
    pub working_dir: Untrusted,
    /// `""`, `user`, `uid`, `user:group`, `uid:gid`, …
    pub user: Untrusted,
    /// Name or number of the signal that asks the app to stop.
    pub stop_signal: Option<Untrusted>,
    /// How long the app has after that signal (Docker only).
    pub stop_timeout_s: Option<u64>,
    /// Folders whose data outlives the app, sorted.
    pub volumes: Vec<Untrusted>,
    /// `PORT`, `PORT/tcp` or `PORT/udp` each, sorted.
    pub exposed_ports: Vec<Untrusted>,
    /// Free text for tools.
    pub labels: BTreeMap<Untrusted, Untrusted>,
    /// How to check the app's health (Docker only).
    pub healthcheck: Option<Healthcheck>,
}

/// Docker's health check; durations are in nanoseconds, 0 means Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", args…]` or `["CMD-SHELL", command]`.
    #[serde(alias = "Test", deserialize_with = "null_is_default")]
    pub test: Vec<Untrusted>,
    /// Time between two checks.
    #[serde(alias = "Interval")]
    pub interval_ns: u64,
    /// Time a check may take.
    #[serde(alias = "Timeout")]
    pub timeout_ns: u64,
    /// Time after the start in which failures do not count.
    #[serde(alias = "StartPeriod")]
    pub start_period_ns: u64,
    /// Failures in a row that make the app unhealthy.
    #[serde(alias = "Retries")]
    pub retries: u32,
}

/// An image config as it is stored, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stored {
    #[serde(deserialize_with = "null_is_default")]
    architecture: Untrusted,
    #[serde(deserialize_with = "null_is_default")]
    os: Untrusted,
    #[serde(deserialize_with = "null_is_default")]
    created: Untrusted,
    #[serde(deserialize_with = "null_is_default")]
    config: StoredProcess,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) rootfs: StoredRootfs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StoredProcess {
    #[serde(deserialize_with = "null_is_default")]
    entrypoint: Vec<Untrusted>,
    #[serde(deserialize_with = "null_is_default")]
    cmd: Vec<Untrusted>,
    #[serde(deserialize_with = "null_is_default")]
    env: Vec<Untrusted>,
    #[serde(deserialize_with = "null_is_default")]
    working_dir: Untrusted,
    #[serde(deserialize_with = "null_is_default")]
    user: Untrusted,
    stop_signal: Option<Untrusted>,
    stop_timeout: Option<u64>,
    #[serde(deserialize_with = "null_is_default")]
    volumes: BTreeMap<Untrusted, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "null_is_default")]
    exposed_ports: BTreeMap<Untrusted, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "null_is_default")]
    labels: BTreeMap<Untrusted, Untrusted>,
    healthcheck: Option<Healthcheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StoredRootfs {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) diff_ids: Vec<String>,
}

/// Docker writes `null` for what is empty.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl From<Stored> for Config {
    fn from(stored: Stored) -> Self {
        let process = stored.config;
        Self {
            architecture: stored.architecture,
            os: stored.os,
            created: stored.created,
            entrypoint: process.entrypoint,
            cmd: process.cmd,
            env: process.env,
            working_dir: process.working_dir,
            user: process.user,
            stop_signal: process.stop_signal.filter(|signal| !signal.is_empty()),
            stop_timeout_s: process.stop_timeout,
            volumes: process.volumes.into_keys().collect(),
            exposed_ports: process.exposed_ports.into_keys().collect(),
            labels: process.labels,
            healthcheck: process.healthcheck,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Config {
        serde_json::from_str::<Stored>(json).unwrap().into()
    }

    #[test]
    fn a_config_as_docker_writes_it_is_understood() {
        let config = parse(
            r#"{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","id":"x",
            "config":{"Hostname":"","User":"1000:1000","Env":["A=b"],"Entrypoint":["/e"],"Cmd":["c"],
            "WorkingDir":"/w","StopSignal":"SIGQUIT","StopTimeout":3,"Volumes":{"/v":{},"/a":{}},
            "ExposedPorts":{"80/tcp":{}},"Labels":{"k":"v"},
            "Healthcheck":{"Test":["CMD","x"],"Interval":5000000000}},
            "rootfs":{"type":"layers","diff_ids":[]}}"#,
        );
        assert_eq!(config.volumes, ["/a", "/v"]);
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.stop_signal, Some("SIGQUIT".into()));
        assert_eq!(config.healthcheck.as_ref().unwrap().interval_ns, 5_000_000_000);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }

    #[test]
    fn nulls_are_the_same_as_absent() {
        let config = parse(
            r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,"Volumes":null,
            "Entrypoint":null,"Labels":null,"ExposedPorts":null,"WorkingDir":null,"StopSignal":""}}"#,
        );
        let plain = parse(r#"{"architecture":"amd64","os":"linux"}"#);
        assert_eq!(config, plain);
    }
}
