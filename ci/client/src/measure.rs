//! What the client in dom0 tells about one start, and about one load.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;

/// One of several starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct One {
    /// Where its app will answer.
    pub address: SocketAddrV4,
    /// What starts it.
    pub command: Vec<String>,
}

/// Several starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Several {
    /// From before the first command was forked until the last one has answered and returned.
    pub wall_ms: f64,
    /// Each start.
    pub starts: Vec<Measure>,
}

/// One start, as the client saw it. Times are milliseconds of dom0's monotonic clock since just
/// before the command was forked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The command's end; `None` when the answer came and the command had still not ended.
    pub returned_ms: Option<f64>,
    /// The command's exit code, 128 + signal when killed.
    pub exit_code: Option<i32>,
    /// The whole of the first right answer was there; `None` when it never came.
    pub first_answer_ms: Option<f64>,
    /// SHA-256 of that answer's body, in hex.
    pub body_sha256: Option<String>,
    /// Length of that body in bytes.
    pub body_bytes: Option<usize>,
    /// Connections that were tried.
    pub attempts: u32,
    /// How often an attempt failed in which way.
    pub failures: BTreeMap<String, u32>,
    /// What the command wrote to its standard output and error.
    pub output: String,
}

impl Measure {
    /// What tells why a start failed: the command's exit code, the failed attempts, and the output.
    #[must_use]
    pub fn why(&self) -> String {
        let output = self.output.trim();
        format!("exit code {:?}: {:?}: {output}", self.exit_code, self.failures)
    }
}

/// One load: several connections, each of which asks again as soon as it has its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Answers that are in the figures.
    pub requests: u64,
    /// Time that they took together.
    pub seconds: f64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// From a request's first byte to the answer's last.
    pub latency: Latency,
    /// Connections that broke, and answers that were wrong; none of them is in the figures.
    pub errors: u64,
    /// The first of those.
    pub first_error: Option<String>,
    /// SHA-256 of each connection's first body.
    pub bodies_sha256: Vec<String>,
}

/// Quantiles of latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the answers took no longer.
    pub p50_ms: f64,
    /// 90 %.
    pub p90_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}
