//! Compares launches at once with as many in a row.

use super::numbered::{app, start_several, take_down};
use crate::command::Stop;
use crate::rounds::turns;
use crate::side::{App, Side};
use crate::testbed::{Testbed, before_each};
use anyhow::Result;
use lab::host::say;
use lab_client::measure::Measure;
use serde::{Deserialize, Serialize};

/// Rounds of both ways, in turns.
const ROUNDS: usize = 3;
/// The client's names of both ways.
const WAYS: [&str; 2] = ["in-a-row", "at-once"];

/// The results of both ways, for one type of domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AtOnce {
    pub(crate) kind: String,
    count: u16,
    /// Time until all have answered, started one after the other; only rounds without a failure.
    pub(crate) in_a_row_ms: Vec<f64>,
    pub(crate) at_once_ms: Vec<f64>,
    failures: Vec<String>,
}

/// Starts `count` domains in a row and at once, in turns.
pub(crate) fn compare(
    testbed: &Testbed<'_>,
    kind: &str,
    memory_mib: u32,
    count: u16,
    stop: &Stop,
) -> Result<AtOnce> {
    let side = Side::domain(kind, memory_mib);
    let all: Vec<App> = (1..=count).map(|number| app(&side, number)).collect();
    let (mut times_ms, mut failures) = ([Vec::new(), Vec::new()], Vec::new());
    for (round, way) in turns(1..=ROUNDS, WAYS.len()) {
        if stop.has_come() {
            break;
        }
        let how = WAYS[way];
        testbed.dom0.sh(&before_each())?;
        let several = start_several(testbed, how, &all, false)?;
        testbed.dom0.run(&["sh", "-u"], take_down(&side, count).as_bytes())?;
        say(&format!("{round}/{ROUNDS} {count} {kind} {how}: {:.0} ms", several.wall_ms));
        let failed = several.starts.iter().filter(|start| start.first_answer_ms.is_none());
        let failed: Vec<String> = failed.map(Measure::why).collect();
        if failed.is_empty() {
            times_ms[way].push(several.wall_ms);
        } else {
            let text = failed.join("; ");
            failures.push(format!("round {round}, {how}: {} of {count}: {text}", failed.len()));
        }
    }
    let [in_a_row_ms, at_once_ms] = times_ms;
    Ok(AtOnce { kind: kind.into(), count, in_a_row_ms, at_once_ms, failures })
}
