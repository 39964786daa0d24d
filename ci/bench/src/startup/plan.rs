//! How a contender is started and taken down.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A contender that can be started. What is not timed is a shell script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// What was ready before the clock started.
    pub(crate) ready: Vec<String>,
    /// Where the app will answer; or the script that prints it, where that changes from start to start.
    pub(crate) address: Ipv4Addr,
    pub(crate) find_address: Option<String>,
    /// After each start, before the next: waits until nothing of it goes on any more.
    pub(crate) settle: String,
    /// Before each start, what is timed, and after each start.
    pub(crate) before: String,
    pub(crate) command: Vec<String>,
    pub(crate) after: String,
    /// When all is over.
    pub(crate) at_end: String,
    /// Tells more about a start that failed, before it is taken down.
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

/// A plan, or the reason why the contender is not here.
pub(crate) type Here = Result<Plan, String>;

/// Words of a command or of a list.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// An address on our own bridge, apart from the others' so that no round hears of another.
pub(crate) fn own_address(name: &str) -> Ipv4Addr {
    let last = ["crun", "runc", "xl-stock"].iter().position(|known| *known == name).unwrap_or(3);
    Ipv4Addr::new(10, 112, 0, 10 + u8::try_from(last).unwrap_or(0))
}
