//! All starts of a contender, and the rounds that make them.

use super::phases::{WHOLE, parse};
use super::report::Entry;
use crate::rounds::turns;
use crate::testbed::{Testbed, before_each};
use anyhow::{Context, Result};
use lab::host::say;
use lab_client::measure::Measure;
use std::net::SocketAddrV4;

/// The longest that an app may take, in seconds.
const PATIENCE_S: u32 = 120;
/// Seconds between taking one down and starting the next, so that no start pays for what was before …
const REST_S: u32 = 1;
/// … and where a domain may just have been built to wait, until it has booted.
const REST_OF_POOLS_S: u32 = 5;

/// A contender that is started again and again.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) entry: Entry,
    /// What the client asks: `http`, `redis-ping`, or `nothing` where only the return counts.
    pub(crate) question: &'static str,
}

impl Series {
    /// Whether a start did what it should.
    fn is_good(&self, round: &Measure) -> bool {
        match self.question {
            "nothing" => round.exit_code == Some(0),
            _ => round.first_answer_ms.is_some(),
        }
    }

    /// A shell script that waits until nothing of a start goes on any more.
    fn settle(&self) -> String {
        let settle = &self.entry.plan.settle;
        let rest_s = if settle.is_empty() { REST_S } else { REST_OF_POOLS_S };
        format!("{settle}\nsleep {rest_s}")
    }

    /// One start, once `settle` is through.
    fn start(
        &self,
        testbed: &Testbed<'_>,
        port: u16,
        settle: &str,
        command: &[String],
    ) -> Result<Measure> {
        let Self { entry: Entry { plan, name, .. }, question } = self;
        testbed.dom0.sh(&format!("{settle}\n{}\n{}", plan.before, before_each()))?;
        let address = match &plan.find_address {
            Some(script) => testbed.dom0.sh(script)?.trim().to_owned(),
            None => plan.address.to_string(),
        };
        // The domain that should wait is gone: a start that failed, and no reason to lose all others.
        let mut measure = if address.is_empty() {
            Measure { output: "no domain waits: ".into(), ..Measure::default() }
        } else {
            let address = SocketAddrV4::new(address.parse().context("an odd address")?, port);
            let started = testbed.start(question, address, PATIENCE_S, command);
            started.with_context(|| format!("the client fails with {name}"))?
        };
        if !self.is_good(&measure) {
            let more = testbed.dom0.run(&["sh", "-c", &plan.explain], &[])?;
            measure.output += &String::from_utf8_lossy(&more.stdout);
        }
        testbed.dom0.sh(&plan.after)?;
        Ok(measure)
    }

    fn tell(&self, what: &str, measure: &Measure) {
        let show = |ms: Option<f64>| ms.map_or("never".into(), |ms| format!("{ms:.0} ms"));
        let returned = show(measure.returned_ms);
        let first = match self.question {
            "nothing" => String::new(),
            _ => format!("first answer {}, ", show(measure.first_answer_ms)),
        };
        say(&format!("{what} {}: {first}returned {returned}", self.entry.name));
        if !self.is_good(measure) {
            say(&format!("  {:?} {}", measure.failures, measure.output.trim()));
        }
    }
}

/// Starts every contender once without counting it, then `rounds` times, and in the first
/// `phase_rounds` of these once more to learn its phases.
pub(crate) fn run(
    testbed: &Testbed<'_>,
    all: &mut [Series],
    port: u16,
    rounds: usize,
    phase_rounds: usize,
) -> Result<()> {
    // What one has left to do would be paid for by the next: a pool is filled again after a launch.
    let mut settle: String = all.iter().map(|series| series.settle() + "\n").collect();
    for (round, index) in turns(0..=rounds, all.len()) {
        let series = &mut all[index];
        let explain = || format!("in round {round}");
        let mut command = series.entry.plan.command.clone();
        let measure = series.start(testbed, port, &settle, &command).with_context(explain)?;
        settle = series.settle();
        let what = if round == 0 { "warm-up".into() } else { format!("{round}/{rounds}") };
        series.tell(&what, &measure);
        if round == 0 {
            series.entry.warm_up_ms = measure.first_answer_ms;
            series.entry.bodies_sha256.extend(measure.body_sha256);
            continue;
        }
        let is_good = series.is_good(&measure);
        series.entry.note(measure, is_good);
        if series.entry.name.starts_with("launch") && round <= phase_rounds {
            command.insert(2, "--time".into());
            let measure = series.start(testbed, port, &settle, &command).with_context(explain)?;
            if !series.is_good(&measure) {
                say(&format!("  the start for its phases: {}", measure.output.trim()));
                continue;
            }
            let (starts, mut took) = parse(&measure.output);
            took.extend(measure.first_answer_ms.map(|ms| (WHOLE.to_owned(), ms)));
            series.entry.samples_phases_ms.push(took);
            series.entry.samples_phase_starts_ms.push(starts);
        }
    }
    Ok(())
}
