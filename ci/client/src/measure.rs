//! The results that the client in dom0 prints about starts and loads.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;

/// One of several starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct One {
    /// The app's address.
    pub address: SocketAddrV4,
    /// The command that starts it.
    pub command: Vec<String>,
}

/// Several starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Several {
    /// From before the fork of the first command until the last one has answered and returned.
    pub wall_ms: f64,
    /// Each start.
    pub starts: Vec<Measure>,
}

/// One start, as measured by the client. Times are milliseconds of dom0's monotonic clock, since just before the fork
/// of the command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The end of the command; `None` if it had not ended when the answer came.
    pub returned_ms: Option<f64>,
    /// The command's exit code, or 128 + signal if it was killed.
    pub exit_code: Option<i32>,
    /// The end of the first right answer; `None` if there was none.
    pub first_answer_ms: Option<f64>,
    /// SHA-256 of that answer's body, in hex.
    pub body_sha256: Option<String>,
    /// Length of that body in bytes.
    pub body_bytes: Option<usize>,
    /// The number of attempted connections.
    pub attempts: u32,
    /// The number of failed attempts, by failure.
    pub failures: BTreeMap<String, u32>,
    /// The command's standard output and error.
    pub output: String,
}

impl Measure {
    /// Why a start failed: the command's exit code, the failed attempts, and the output.
    #[must_use]
    pub fn why(&self) -> String {
        let output = self.output.trim();
        format!("exit code {:?}: {:?}: {output}", self.exit_code, self.failures)
    }
}

/// One load: several connections, each of which sends the next request once it has its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The number of counted answers.
    pub requests: u64,
    /// The time in which they came.
    pub seconds: f64,
    /// The bytes of their bodies.
    pub body_bytes: u64,
    /// From a request's first byte to its answer's last byte.
    pub latency: Latency,
    /// Broken connections and wrong answers; none of them is counted elsewhere.
    pub errors: u64,
    /// The first of these errors.
    pub first_error: Option<String>,
    /// SHA-256 of each connection's first body.
    pub bodies_sha256: Vec<String>,
}

/// Quantiles of latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the answers took no longer.
    pub p50_ms: f64,
    /// 90 % took no longer.
    pub p90_ms: f64,
    /// 99 % took no longer.
    pub p99_ms: f64,
    /// 99.9 % took no longer.
    pub p999_ms: f64,
    /// The longest latency.
    pub max_ms: f64,
}
