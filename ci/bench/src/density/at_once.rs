//! Launches at once against as many in a row.

use super::fill::start_several;
use super::side::{One, Side};
use crate::compare::ground::{Ground, before_each};
use crate::compare::statistics::Ratio;
use anyhow::Result;
use lab::host::say;
use lab_client::measure::Several;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds of both, in turns.
const ROUNDS: u32 = 3;

/// Both ways of starting several, of one type of domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AtOnce {
    /// `pv` or `pvh`.
    pub kind: String,
    /// How many.
    pub count: u16,
    /// Each until all have answered, one after the other; rounds without a failure only.
    pub in_a_row_ms: Vec<f64>,
    /// Each until all have answered, started at once; rounds without a failure only.
    pub at_once_ms: Vec<f64>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl AtOnce {
    /// At once against in a row.
    #[must_use]
    pub fn ratio(&self) -> Option<Ratio> {
        Ratio::of_medians(&self.at_once_ms, &self.in_a_row_ms)
    }
}

/// Starts `count` domains in a row and at once, in turns.
///
/// # Errors
/// When dom0 does not answer.
pub fn compare(
    ground: &Ground,
    kind: &str,
    memory_mib: u32,
    count: u16,
    port: u16,
    stop: &AtomicBool,
) -> Result<AtOnce> {
    let side = Side::Launch { kind: kind.into(), memory_mib };
    let all: Vec<One> = (1..=count).map(|number| side.one(number, &ground.image.name)).collect();
    let (mut in_a_row_ms, mut at_once_ms, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        for how in ["in-a-row", "at-once"] {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            ground.place.sh(&before_each())?;
            let several = start_several(ground, how, &all, port)?;
            ground.place.run(&["sh", "-u"], side.take_down(count).as_bytes())?;
            say(&format!("{round}/{ROUNDS} {count} {kind} {how}: {:.0} ms", several.wall_ms));
            let wrong = failures_of(&several);
            match (wrong.is_empty(), how) {
                (true, "in-a-row") => in_a_row_ms.push(several.wall_ms),
                (true, _) => at_once_ms.push(several.wall_ms),
                (false, _) => {
                    let text = wrong.join("; ");
                    failures
                        .push(format!("round {round}, {how}: {} of {count}: {text}", wrong.len()));
                }
            }
        }
    }
    Ok(AtOnce { kind: kind.into(), count, in_a_row_ms, at_once_ms, failures })
}

fn failures_of(several: &Several) -> Vec<String> {
    let failed = several.starts.iter().filter(|start| start.first_answer_ms.is_none());
    failed
        .map(|start| match start.exit_code {
            Some(0) => format!("no answer: {:?}", start.failures),
            code => format!("exit code {code:?}: {}", start.output.trim()),
        })
        .collect()
}
