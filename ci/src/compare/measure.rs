//! What the client in dom0 tells about one start.

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
