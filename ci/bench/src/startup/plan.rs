//! The plan of a contender: how it is started and removed.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// How to start a contender. Everything outside of the measured time is a shell script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// What exists before the clock starts.
    pub(crate) ready: Vec<String>,
    /// The app's address; or a script that prints it, if it changes from start to start.
    pub(crate) address: Ipv4Addr,
    pub(crate) find_address: Option<String>,
    /// After each start, before the next one: waits until all background work of the start has ended.
    pub(crate) settle: String,
    /// Before each start; the measured command; after each start.
    pub(crate) before: String,
    pub(crate) command: Vec<String>,
    pub(crate) after: String,
    /// After all rounds.
    pub(crate) at_end: String,
    /// Prints details about a failed start, before its app is removed.
    pub(crate) explain: String,
}

impl Plan {
    /// A plan without the scripts that only some contenders need.
    pub(crate) fn new(
        ready: &[&str],
        address: Ipv4Addr,
        command: Vec<String>,
        after: String,
        explain: String,
    ) -> Self {
        let (settle, before, at_end) = Default::default();
        let ready = words(ready);
        let find_address = None;
        Self { ready, address, find_address, settle, before, command, after, at_end, explain }
    }
}

impl Default for Plan {
    fn default() -> Self {
        let (command, after, explain) = Default::default();
        Self::new(&[], Ipv4Addr::UNSPECIFIED, command, after, explain)
    }
}

/// A plan, or the reason why the contender is not available.
pub(crate) type Here = Result<Plan, String>;

/// The words of a command or of a list.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// An address on the benchmark's bridge, different for each contender, so that rounds do not disturb each other.
pub(crate) fn own_address(name: &str) -> Ipv4Addr {
    let last = ["crun", "runc", "xl-stock"].iter().position(|known| *known == name).unwrap_or(3);
    Ipv4Addr::new(10, 112, 0, 10 + u8::try_from(last).unwrap_or(0))
}
