//! What the client in dom0 tells about one load.

use serde::{Deserialize, Serialize};

/// One load: several connections, each of which asks anew as soon as it has its answer.
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
