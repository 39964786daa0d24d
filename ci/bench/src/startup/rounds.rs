//! The rounds: every contender once in each, in an order that gives none always the same one before it.

use super::phases::Timeline;
use super::plan::Plan;
use crate::compare::ground::{CLIENT, Ground, before_each};
use anyhow::{Context, Result, ensure};
use lab::host::say;
use lab_client::measure::Measure;

/// The longest that an app may take, in seconds.
const PATIENCE_S: &str = "120";
/// Seconds between taking one down and starting the next, so that no start pays for what was before …
const REST_S: u32 = 1;
/// … and where a domain may just have been built to wait, until it has booted.
const REST_OF_POOLS_S: u32 = 5;
/// Name of the phase that holds all of a start.
pub const WHOLE: &str = "first answer";

/// All starts of one contender.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// How it is started.
    pub plan: Plan,
    /// What the client asks: `http`, `redis-ping`, or `nothing` where only the return counts.
    pub question: &'static str,
    /// Starts with `--time` too, for the phases.
    pub has_phases: bool,
    /// The start that warms dom0's page cache up.
    pub warm_up: Option<Measure>,
    /// The others.
    pub rounds: Vec<Measure>,
    /// The phases of each start with `--time`.
    pub phases: Vec<Timeline>,
}

impl Series {
    /// One that has not run yet.
    #[must_use]
    pub fn new(name: String, plan: Plan, question: &'static str, has_phases: bool) -> Self {
        let (warm_up, rounds, phases) = (None, Vec::new(), Vec::new());
        Self { name, plan, question, has_phases, warm_up, rounds, phases }
    }

    /// First answers of the rounds, in milliseconds.
    #[must_use]
    pub fn firsts(&self) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.first_answer_ms).collect()
    }

    /// Returns of the rounds that count, in milliseconds.
    #[must_use]
    pub fn returns(&self) -> Vec<f64> {
        let counted = self.rounds.iter().filter(|round| self.is_good(round));
        counted.filter_map(|round| round.returned_ms).collect()
    }

    /// Whether a start did what it should.
    #[must_use]
    pub fn is_good(&self, round: &Measure) -> bool {
        match self.question {
            "nothing" => round.exit_code == Some(0),
            _ => round.first_answer_ms.is_some(),
        }
    }
}

/// Starts every contender once without counting it, then `rounds` times, and in the first
/// `phase_rounds` of these once more to learn its phases.
///
/// # Errors
/// When dom0 does not answer, or a contender cannot be made ready or taken down.
pub fn run(
    ground: &Ground,
    all: &mut [Series],
    port: u16,
    rounds: usize,
    phase_rounds: usize,
) -> Result<()> {
    // What one has left to do would be paid for by the next: a pool is filled again after a launch.
    let mut settle: String = all.iter().map(|series| settle_after(series) + "\n").collect();
    for round in 0..=rounds {
        for index in order(all.len(), round) {
            let series = &mut all[index];
            let explain = || format!("in round {round}");
            let after = settle_after(series);
            let measure = start_once(ground, series, port, &settle, &series.plan.command)
                .with_context(explain)?;
            settle.clone_from(&after);
            let what = if round == 0 { "warm-up".into() } else { format!("{round}/{rounds}") };
            tell(&what, series, &measure);
            if round == 0 {
                series.warm_up = Some(measure);
                continue;
            }
            series.rounds.push(measure);
            if series.has_phases && round <= phase_rounds {
                let mut command = series.plan.command.clone();
                command.insert(2, "--time".into());
                let measure =
                    start_once(ground, series, port, &settle, &command).with_context(explain)?;
                if !series.is_good(&measure) {
                    say(&format!("  the start for its phases: {}", measure.output.trim()));
                    continue;
                }
                let mut timeline = Timeline::parse(&measure.output);
                timeline.took.0.extend(measure.first_answer_ms.map(|ms| (WHOLE.to_owned(), ms)));
                series.phases.push(timeline);
            }
        }
    }
    Ok(())
}

/// Who comes when in a round. In as many rounds as there are contenders each has each place once, and,
/// where their number is even, each other one before it once: what one leaves behind for the next (a
/// daemon at work, a cold cache) does not always meet the same. Design: E. J. Williams, 1949.
fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| {
        let step = place.div_ceil(2);
        let first = if place % 2 == 1 { step } else { count - step };
        (first + round) % count
    })
}

/// A shell script that waits until nothing of a start goes on any more.
fn settle_after(series: &Series) -> String {
    let settle = &series.plan.settle;
    let rest_s = if settle.is_empty() { REST_S } else { REST_OF_POOLS_S };
    format!("{settle}\nsleep {rest_s}")
}

fn start_once(
    ground: &Ground,
    series: &Series,
    port: u16,
    settle: &str,
    command: &[String],
) -> Result<Measure> {
    let Series { plan, name, question, .. } = series;
    ground.place.sh(&format!("{settle}\n{}\n{}", plan.before, before_each()))?;
    let address = match &plan.find_address {
        Some(script) => ground.place.sh(script)?.trim().to_owned(),
        None => plan.address.to_string(),
    };
    // The domain that should wait is gone: a start that went wrong, and no reason to lose all others.
    let mut measure = if address.is_empty() {
        Measure { output: "no domain waits: ".into(), ..Measure::default() }
    } else {
        let address = format!("{address}:{port}");
        let mut argv = vec![CLIENT, "measure", question, &address, PATIENCE_S];
        argv.extend(command.iter().map(String::as_str));
        let output = ground.place.run(&argv, &[])?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.code == 0, "the client fails with {name}: {text}");
        serde_json::from_slice(&output.stdout).context("the client gave no JSON")?
    };
    if !series.is_good(&measure) {
        let more = ground.place.run(&["sh", "-c", &plan.explain], &[])?;
        measure.output += &String::from_utf8_lossy(&more.stdout);
    }
    ground.place.sh(&plan.after)?;
    Ok(measure)
}

fn tell(what: &str, series: &Series, measure: &Measure) {
    let show = |ms: Option<f64>| ms.map_or("never".into(), |ms| format!("{ms:.0} ms"));
    let returned = show(measure.returned_ms);
    let first = match series.question {
        "nothing" => String::new(),
        _ => format!("first answer {}, ", show(measure.first_answer_ms)),
    };
    say(&format!("{what} {}: {first}returned {returned}", series.name));
    if !series.is_good(measure) {
        say(&format!("  {:?} {}", measure.failures, measure.output.trim()));
    }
}

#[cfg(test)]
mod tests {
    use super::order;
    use std::collections::BTreeSet;

    #[test]
    fn everyone_runs_once_a_round_and_once_after_each_other_one() {
        for count in [1, 2, 5, 12] {
            let mut pairs = BTreeSet::new();
            for round in 0..count {
                let all: Vec<usize> = order(count, round).collect();
                assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), count);
                assert!(all.iter().all(|index| *index < count));
                pairs.extend(all.windows(2).map(|two| (two[0], two[1])));
            }
            if count % 2 == 0 {
                assert_eq!(pairs.len(), count * (count - 1));
            }
        }
    }
}
