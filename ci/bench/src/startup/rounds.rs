//! The rounds: every contender is started once in each round.

use super::phases::{WHOLE, parse};
use super::report::Entry;
use crate::rounds::turns;
use crate::testbed::{Testbed, before_each};
use anyhow::{Context, Result};
use lab::host::say;
use lab_client::measure::Measure;
use std::net::SocketAddrV4;

/// The contender whose app gets no orders and never answers: only its return is measured.
pub(crate) const NEVER_ANSWERS: &str = "xl-create";
/// The longest that an app may take, in seconds.
const PATIENCE_S: u32 = 120;
/// Seconds between removing one app and starting the next, so that no start is slowed by the one before …
const REST_S: u32 = 1;
/// … and if a pooled domain may have just been built, until it has booted.
const REST_OF_POOLS_S: u32 = 5;

/// Starts every contender once to warm up, then `rounds` times. In the first `few` rounds starts each once more to
/// measure its phases.
pub(crate) fn run(app: &App<'_>, all: &mut [Entry], rounds: usize, few: usize) -> Result<()> {
    // Otherwise the next start would be slowed: for example, a pool is filled again after a launch.
    let mut settle: String = all.iter().map(|entry| settle_after(entry) + "\n").collect();
    for (round, index) in turns(0..=rounds, all.len()) {
        let entry = &mut all[index];
        let explain = || format!("in round {round}");
        let mut command = entry.plan.command.clone();
        let start = app.start(entry, &settle, &command).with_context(explain)?;
        settle = settle_after(entry);
        let what = if round == 0 { "warm-up".into() } else { format!("{round}/{rounds}") };
        tell(&what, &entry.name, &start);
        if round == 0 {
            entry.warm_up_ms = start.first_answer_ms;
            entry.bodies_sha256.extend(start.body_sha256);
            continue;
        }
        let is_good = is_good(&entry.name, &start);
        entry.note(start, is_good);
        if entry.name.starts_with("launch") && round <= few {
            command.insert(2, "--time".into());
            let start = app.start(entry, &settle, &command).with_context(explain)?;
            if start.first_answer_ms.is_none() {
                say(&format!("  the start for its phases: {}", start.output.trim()));
                continue;
            }
            let (starts, mut took) = parse(&start.output);
            took.extend(start.first_answer_ms.map(|ms| (WHOLE.to_owned(), ms)));
            entry.samples_phases_ms.push(took);
            entry.samples_phase_starts_ms.push(starts);
        }
    }
    Ok(())
}

/// The app that all contenders start.
#[derive(Debug)]
pub(crate) struct App<'a> {
    pub(crate) testbed: &'a Testbed<'a>,
    /// The client's question: `http` or `redis-ping`.
    pub(crate) question: &'a str,
    pub(crate) port: u16,
}

impl App<'_> {
    /// Runs one start, after `settle`.
    fn start(&self, entry: &Entry, settle: &str, command: &[String]) -> Result<Measure> {
        let (Entry { plan, name, .. }, dom0) = (entry, self.testbed.dom0);
        dom0.sh(&format!("{settle}\n{}\n{}", plan.before, before_each()))?;
        let address = match &plan.find_address {
            Some(script) => dom0.sh(script)?.trim().to_owned(),
            None => plan.address.to_string(),
        };
        // If the pooled domain is missing, only this start fails, and the other figures are kept.
        let mut start = if address.is_empty() {
            Measure { output: "the pool is empty: ".into(), ..Measure::default() }
        } else {
            let address = SocketAddrV4::new(address.parse().context("invalid address")?, self.port);
            let question = if name == NEVER_ANSWERS { "nothing" } else { self.question };
            let started = self.testbed.start(question, address, PATIENCE_S, command);
            started.with_context(|| format!("the client fails with {name}"))?
        };
        if !is_good(name, &start) {
            let more = dom0.run(&["sh", "-c", &plan.explain], &[])?;
            start.output += &String::from_utf8_lossy(&more.stdout);
        }
        dom0.sh(&plan.after)?;
        Ok(start)
    }
}

/// A shell script that waits until all background work of a start has ended.
fn settle_after(entry: &Entry) -> String {
    let settle = &entry.plan.settle;
    let rest_s = if settle.is_empty() { REST_S } else { REST_OF_POOLS_S };
    format!("{settle}\nsleep {rest_s}")
}

/// Whether a start of this contender succeeded.
fn is_good(name: &str, start: &Measure) -> bool {
    if name == NEVER_ANSWERS { start.exit_code == Some(0) } else { start.first_answer_ms.is_some() }
}

fn tell(what: &str, name: &str, start: &Measure) {
    let show = |ms: Option<f64>| ms.map_or("never".into(), |ms| format!("{ms:.0} ms"));
    let first = format!("first answer {}, ", show(start.first_answer_ms));
    let first = if name == NEVER_ANSWERS { "" } else { &first };
    say(&format!("{what} {name}: {first}returned {}", show(start.returned_ms)));
    if !is_good(name, start) {
        say(&format!("  {:?} {}", start.failures, start.output.trim()));
    }
}
