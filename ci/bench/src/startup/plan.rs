//! How each contender is made ready, started and taken down.

mod engine;
mod launch;
mod runtime;
mod xl;

pub use xl::prepare_same_domain;

use super::contender::Contender;
use crate::compare::ground::{Ground, remove_apps};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A contender that can be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What was ready before the clock started.
    pub ready: Vec<String>,
    /// Where the app will answer.
    pub address: Ipv4Addr,
    /// A shell script that prints where the app of the next start will answer, where that changes.
    pub find_address: Option<String>,
    /// A shell script after each start, before the next: waits until nothing of it goes on any more;
    /// not timed.
    pub settle: String,
    /// A shell script before each start; not timed.
    pub before: String,
    /// What is timed.
    pub command: Vec<String>,
    /// A shell script after each start; not timed.
    pub after: String,
    /// A shell script when all is over.
    pub at_end: String,
    /// A shell script that tells more about a start that went wrong, before it is taken down.
    pub explain: String,
}

/// A contender is here, or it is not for this reason.
pub type Here = std::result::Result<Plan, String>;

/// Makes a contender ready.
///
/// # Errors
/// When it is here and cannot be made ready.
pub fn prepare(contender: Contender, ground: &Ground) -> Result<Here> {
    let name = contender.to_string();
    match contender {
        Contender::Launch { toolstack, kind } => launch::prepare(&name, toolstack, kind, ground),
        Contender::LaunchPool => launch::prepare_pool(&name, None, ground),
        Contender::LaunchPoolImage => launch::prepare_pool(&name, Some(&ground.image.name), ground),
        Contender::XlStock => xl::prepare_stock(ground),
        Contender::Runtime(program) => runtime::prepare(program, ground),
        Contender::Engine(program) => engine::prepare(program, ground),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Addresses on our own bridge, apart from each other so that no round hears of another.
fn own_address(name: &str) -> Ipv4Addr {
    let names = ["crun", "runc", "xl-stock"];
    let index = names.iter().position(|known| *known == name).unwrap_or(names.len());
    Ipv4Addr::new(10, 112, 0, 10 + u8::try_from(index).unwrap_or(0))
}

/// A shell script that takes down whatever of the contenders is left.
#[must_use]
pub fn take_down() -> String {
    format!(
        "for name in xl-stock xl-same xl-boot; do xl destroy $name 2>/dev/null; done
for name in crun runc; do $name delete -f $name 2>/dev/null; done
{}",
        remove_apps("^launch-(native|xl|pool)")
    )
}
