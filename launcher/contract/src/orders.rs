//! Orders: what the launcher tells `init` to run, and on what.

use crate::mac::Mac;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Everything `init` needs to start the app.
///
/// Absent fields mean "nothing of that kind", so that orders stay small.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// [`crate::VERSION`] of the launcher that wrote this.
    pub version: u32,
    /// The guest's host name.
    pub hostname: String,
    /// Where `/` comes from.
    pub root: Root,
    /// The app itself.
    pub process: Process,
    /// The network interface; `None` leaves only `lo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Further lines for `/etc/hosts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Host>,
    /// Memory file systems to mount over the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// Settings of the guest's kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<Sysctl>,
    /// Entropy that `init` credits to the kernel, in lower-case hex; 32 bytes are enough.
    pub seed: String,
    /// Dom0's real-time clock when the orders were written, in seconds since 1970; 0: keep the
    /// guest's own.
    #[serde(default)]
    pub unix_time: u64,
}

/// Where the guest's `/` comes from: the read-only disk and what lies over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// What takes the writes.
    pub writable: Writable,
}

/// What takes the guest's writes to `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writable {
    /// The ext4 file system on [`crate::devices::WRITABLE_DISK`].
    #[default]
    Disk,
    /// Guest memory; at most this many bytes, 0 for the kernel's default (half of memory).
    Memory {
        /// Limit in bytes.
        max_bytes: u64,
    },
    /// Nothing: `/` is read-only.
    Nothing,
}

/// The app's process, as the OCI image-spec's config describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Entrypoint and command; never empty in orders that are sent.
    pub args: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory, absolute; made if it is missing.
    pub cwd: String,
    /// `""`, `user`, `uid`, `user:group`, `uid:gid`, … looked up in the guest's own files.
    pub user: String,
    /// The signal number that asks the app to stop.
    pub stop_signal: i32,
    /// How long the app has from the stop signal to its end before it is killed.
    pub stop_timeout_ms: u64,
    /// Whether dom0 may send it input; otherwise its input is empty.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stdin: bool,
    /// Whether it runs on a terminal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub terminal: bool,
    /// Whether `init` stands before it as PID 1, passes signals on and reaps orphans: Docker's
    /// `--init`. Without it the app is PID 1.
    #[serde(default, skip_serializing_if = "is_false")]
    pub init: bool,
    /// Limits of the app's processes that differ from the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A limit of a process (`setrlimit(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Linux's number of it on x86, `RLIMIT_CPU` = 0 to `RLIMIT_RTTIME` = 15.
    pub resource: u32,
    /// What is enforced; [`u64::MAX`] is no limit.
    pub soft: u64,
    /// What the app may raise it to.
    pub hard: u64,
}

/// The guest's one interface, [`crate::devices::INTERFACE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Own address.
    pub address: IpAddr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// Default gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Link addresses known beforehand, so that the guest does not wait for ARP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// Name servers for `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Search domains for `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

/// A static neighbour entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// Its link address.
    pub mac: Mac,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Address.
    pub address: IpAddr,
    /// Name.
    pub name: String,
}

/// A memory file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// Mount point, absolute.
    pub path: String,
    /// Mount options as `mount -o` takes them for tmpfs, e.g. `size=16m,mode=1777`.
    pub options: String,
}

/// A setting of the guest's kernel (`sysctl(8)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Its name, with dots or slashes, e.g. `net.core.somaxconn`.
    pub name: String,
    /// What is written to it.
    pub value: String,
}

/// Why orders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// Not JSON of the right shape.
    #[error("the orders are not valid")]
    Json(#[from] serde_json::Error),
    /// Written by a launcher of another version.
    #[error(
        "the orders have contract version {theirs}, this init has {ours}; install the launcher and its guest files together"
    )]
    Version {
        /// Version found.
        theirs: u32,
        /// [`crate::VERSION`].
        ours: u32,
    },
}

impl Orders {
    /// Renders to the JSON that [`crate::store::nodes`] takes.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    #[expect(clippy::expect_used, reason = "strings, numbers and addresses always serialize")]
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("orders serialize")
    }

    /// Parses what [`Orders::render`] made.
    ///
    /// # Errors
    /// Another version, or not orders at all. The version is checked first, so that a newer
    /// launcher's unknown fields are reported as what they are.
    pub fn parse(json: &str) -> Result<Self, OrdersError> {
        #[derive(Deserialize)]
        struct VersionOnly {
            version: u32,
        }
        let VersionOnly { version } = serde_json::from_str(json)?;
        if version != crate::VERSION {
            return Err(OrdersError::Version { theirs: version, ours: crate::VERSION });
        }
        Ok(serde_json::from_str(json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_rendering_and_parsing() {
        let orders = Orders {
            version: crate::VERSION,
            hostname: "web".into(),
            process: Process { args: vec!["nginx".into()], cwd: "/".into(), ..Process::default() },
            network: Some(Network {
                address: "10.0.0.2".parse().unwrap(),
                prefix: 16,
                gateway: Some("10.0.0.1".parse().unwrap()),
                neighbours: vec![Neighbour {
                    address: "10.0.0.1".parse().unwrap(),
                    mac: Mac([2; 6]),
                }],
                dns: vec![],
                search: vec![],
            }),
            ..Orders::default()
        };
        assert_eq!(Orders::parse(&orders.render()).unwrap(), orders);
    }

    #[test]
    fn another_version_is_named_even_when_fields_are_unknown() {
        let error = Orders::parse(r#"{"version":99,"novelty":true}"#).unwrap_err();
        assert!(error.to_string().contains("version 99"), "{error}");
    }
}
