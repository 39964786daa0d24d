//! Image configs: what an image says about the app in it, as OCI's image-spec and Docker have it.

use crate::{
    digest::Digest,
    json::{Fields, Json, JsonError, parse_digest},
    platform::Platform,
};
use contract::Untrusted;
use serde::{Deserialize, Serialize};
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
    pub test: Vec<Untrusted>,
    /// Time between two checks.
    pub interval_ns: u64,
    /// Time a check may take.
    pub timeout_ns: u64,
    /// Time after the start in which failures do not count.
    pub start_period_ns: u64,
    /// Failures in a row that make the app unhealthy.
    pub retries: u32,
}

impl Config {
    /// Parses an image config as it is stored; gives its diff IDs, too.
    pub(crate) fn parse(json: &[u8]) -> Result<(Self, Vec<Digest>), JsonError> {
        let json = Json::parse(json)?;
        let whole = Fields::of(&json, "")?;
        let platform = Platform::of(&whole)?.or_machine();
        let process = whole.object("config")?;
        let text = |name| process.text(name).map(Untrusted::from);
        let texts = |name| process.texts(name).map(untrusted);
        let set = |name| process.names(name).map(sorted);
        let labels = process.pairs("Labels")?;
        let config = Self {
            architecture: platform.architecture.into(),
            os: platform.os.into(),
            // Only shown, so not worth failing.
            created: whole.text("created").unwrap_or_default().into(),
            entrypoint: texts("Entrypoint")?,
            cmd: texts("Cmd")?,
            env: texts("Env")?,
            working_dir: text("WorkingDir")?,
            user: text("User")?,
            stop_signal: Some(text("StopSignal")?).filter(|signal| !signal.is_empty()),
            // Docker waits for ever where it is negative.
            stop_timeout_s: (process.integer("StopTimeout")?)
                .map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX)),
            volumes: set("Volumes")?,
            exposed_ports: set("ExposedPorts")?,
            labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            healthcheck: match process.get("Healthcheck") {
                None => None,
                Some(_) => Some(Healthcheck::of(&process.object("Healthcheck")?)?),
            },
        };
        let rootfs = whole.object("rootfs")?;
        let diff_ids = rootfs.texts("diff_ids")?.into_iter().zip(0..);
        let diff_ids = diff_ids
            .map(|(text, at)| parse_digest(text, &format!("{}[{at}]", rootfs.path("diff_ids"))))
            .collect::<Result<_, _>>()?;
        Ok((config, diff_ids))
    }
}

impl Healthcheck {
    fn of(fields: &Fields<'_>) -> Result<Self, JsonError> {
        let number = |name| Ok(fields.integer(name)?.unwrap_or(0).max(0).unsigned_abs());
        Ok(Self {
            test: fields.texts("Test").map(untrusted)?,
            interval_ns: number("Interval")?,
            timeout_ns: number("Timeout")?,
            start_period_ns: number("StartPeriod")?,
            retries: number("Retries").map(|many| u32::try_from(many).unwrap_or(u32::MAX))?,
        })
    }
}

fn untrusted(texts: Vec<&str>) -> Vec<Untrusted> {
    texts.into_iter().map(Untrusted::from).collect()
}

fn sorted(mut names: Vec<&str>) -> Vec<Untrusted> {
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !name.is_empty());
    untrusted(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Config {
        Config::parse(json.as_bytes()).unwrap().0
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

    #[test]
    fn what_go_takes_is_taken() {
        let plain = parse(r#"{"config":{"Cmd":["a"],"Volumes":{"/v":{}},"Labels":{"k":""}}}"#);
        for same in [
            r#"{"architecture":"x86_64","config":{"Cmd":"a","Volumes":"/v","Labels":{"k":null}}}"#,
            r#"{"OS":"Linux","Config":{"cmd":["a"],"VOLUMES":["/v"],"labels":{"k":""}}}"#,
            r#"{"config":{"Cmd":["b"],"Cmd":["a"]},"config":{"Volumes":{"/v":null},
            "Labels":{"k":"x","k":""},"Entrypoint":"","Env":[],"ExposedPorts":[],"User":""}}"#,
            r#"{"created":5,"history":7,"config":{"Cmd":["a"],"Volumes":{"/v":{}},
            "Labels":{"k":""},"Hostname":1,"OnBuild":{}}}"#,
        ] {
            let config = parse(same);
            let config = Config { architecture: plain.architecture.clone(), ..config };
            assert_eq!(config, plain, "{same}");
        }
        let (os, architecture) = (Platform::machine().os, Platform::machine().architecture);
        assert_eq!((plain.os.raw(), plain.architecture.raw()), (&*os, &*architecture));
        for nothing in ["null", "{}", r#"{"config":null,"rootfs":null}"#] {
            assert_eq!(parse(nothing).cmd, [""; 0]);
        }
    }

    #[test]
    fn numbers_out_of_the_way_are_bounded() {
        let config = parse(
            r#"{"config":{"StopTimeout":-1,"Healthcheck":{"Test":"NONE","Interval":3e9,"Timeout":-1,
            "Retries":1e12}}}"#,
        );
        assert_eq!(config.stop_timeout_s, Some(u64::MAX));
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["NONE"]);
        assert_eq!(check.interval_ns, 3_000_000_000);
        assert_eq!((check.timeout_ns, check.retries), (0, u32::MAX));
    }

    #[test]
    fn what_cannot_be_taken_is_named() {
        for (json, message) in [
            (r#"{"config":{"Env":["A=b",5]}}"#, "config.Env[1] is a number, not a text"),
            (r#"{"config":{"User":{"a":1}}}"#, "config.User is an object, not a text"),
            (r#"{"config":["a"]}"#, "config is a list, not an object"),
            (r#"{"rootfs":{"diff_ids":["x"]}}"#, "rootfs.diff_ids[0] is not valid"),
        ] {
            assert_eq!(Config::parse(json.as_bytes()).unwrap_err().to_string(), message);
        }
    }
}
