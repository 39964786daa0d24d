//! The rounds: every contender is started once in each.

use super::phases::{WHOLE, parse};
use super::report::Entry;
use crate::rounds::turns;
use crate::testbed::{Testbed, before_each};
use anyhow::{Context, Result};
use lab::host::say;
use lab_client::measure::Measure;
use std::net::SocketAddrV4;

/// The contender whose app gets no orders and never answers: only its return counts.
pub(crate) const NEVER_ANSWERS: &str = "xl-create";
/// The longest that an app may take, in seconds.
const PATIENCE_S: u32 = 120;
/// Seconds between taking one down and starting the next, so that no start pays for what was before …
const REST_S: u32 = 1;
/// … and where a domain may just have been built to wait, until it has booted.
const REST_OF_POOLS_S: u32 = 5;

/// Starts every contender once without counting it, then `rounds` times, and in the first
/// `few` of these once more to learn its phases.
pub(crate) fn run(app: &App<'_>, all: &mut [Entry], rounds: usize, few: usize) -> Result<()> {
    // What one has left to do would be paid for by the next: a pool is filled again after a launch.
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
    /// What the client asks it: `http` or `redis-ping`.
    pub(crate) question: &'a str,
    pub(crate) port: u16,
}

impl App<'_> {
    /// One start, once `settle` is through.
    fn start(&self, entry: &Entry, settle: &str, command: &[String]) -> Result<Measure> {
        let (Entry { plan, name, .. }, dom0) = (entry, self.testbed.dom0);
        dom0.sh(&format!("{settle}\n{}\n{}", plan.before, before_each()))?;
        let address = match &plan.find_address {
            Some(script) => dom0.sh(script)?.trim().to_owned(),
            None => plan.address.to_string(),
        };
        // The domain that should wait is gone: a start that failed, and no reason to lose all others.
        let mut start = if address.is_empty() {
            Measure { output: "no domain waits: ".into(), ..Measure::default() }
        } else {
            let address = SocketAddrV4::new(address.parse().context("an odd address")?, self.port);
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

/// A shell script that waits until nothing of a start goes on any more.
fn settle_after(entry: &Entry) -> String {
    let settle = &entry.plan.settle;
    let rest_s = if settle.is_empty() { REST_S } else { REST_OF_POOLS_S };
    format!("{settle}\nsleep {rest_s}")
}

/// Whether a start of this contender did what it should.
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
