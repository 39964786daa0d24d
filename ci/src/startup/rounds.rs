//! The rounds: every contender once in each, in an order that moves on by one a round.

use super::ground::{BEFORE_EACH, CLIENT};
use super::measure::Measure;
use super::place::Place;
use super::plan::Plan;
use super::report::Series;
use crate::host::say;
use anyhow::{Context, Result, ensure};

/// The longest that an app may take, in seconds.
const PATIENCE_S: &str = "180";
/// Between taking one down and starting the next, so that no start pays for what was before it.
const REST: &str = "sleep 1";

/// Starts every contender once without counting it, then `rounds` times.
///
/// # Errors
/// When dom0 does not answer, or a contender cannot be made ready or taken down.
pub fn run(
    place: &Place,
    all: &mut [Series],
    question: &str,
    port: u16,
    rounds: usize,
) -> Result<()> {
    for round in 0..=rounds {
        for place_in_round in 0..all.len() {
            let index = (place_in_round + round) % all.len();
            let series = &mut all[index];
            let measure = start_once(place, &series.plan, question, port)
                .with_context(|| format!("in round {round}, with {}", series.contender))?;
            let what = if round == 0 { "warm-up".into() } else { format!("{round}/{rounds}") };
            let show = |ms: Option<f64>| ms.map_or("never".into(), |ms| format!("{ms:.0} ms"));
            say(&format!(
                "{what} {}: first answer {}, returned {} {:?}",
                series.contender,
                show(measure.first_answer_ms),
                show(measure.returned_ms),
                measure.failures
            ));
            if measure.first_answer_ms.is_none() {
                say(&format!("  {:?} {}", measure.failures, measure.output.trim()));
            }
            if round == 0 { series.warm_up = Some(measure) } else { series.rounds.push(measure) }
        }
    }
    Ok(())
}

fn start_once(place: &Place, plan: &Plan, question: &str, port: u16) -> Result<Measure> {
    place.sh(&format!("{}\n{BEFORE_EACH}\n{REST}", plan.before))?;
    let address = format!("{}:{port}", plan.address);
    let mut argv = vec![CLIENT, "measure", question, &address, PATIENCE_S];
    argv.extend(plan.command.iter().map(String::as_str));
    let output = place.run(&argv, &[])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.code == 0, "the client failed: {text}");
    let measure = serde_json::from_slice(&output.stdout).context("the client gave no JSON")?;
    place.sh(&plan.after)?;
    Ok(measure)
}
