//! The figures, as JSON.

use crate::report::Figures;
use crate::statistics::{Ratio, Summary};
use lab::host::say;
use lab_client::measure::Latency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The figures; the file has the same order of fields. `pages/throughput.md` describes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Throughput {
    pub(crate) images: Vec<String>,
    pub(crate) rounds: u16,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    pub(crate) memory_mib: u32,
    pub(crate) ready: BTreeMap<String, Vec<String>>,
    pub(crate) workloads: Vec<Measured>,
}

/// One workload on all sides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) title: String,
    /// The unit that `rate` counts per second: `requests`, `MiB` or `writes`.
    pub(crate) unit: String,
    pub(crate) contenders: Vec<Entry>,
}

/// One side of a workload.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    /// Units per second, over the successful rounds.
    pub(crate) rate: Option<Summary>,
    /// The median of each quantile over the rounds; `None` if the workload has no requests.
    pub(crate) latency: Option<Latency>,
    pub(crate) ratio_to_crun: Option<Ratio>,
    pub(crate) bodies_sha256: Vec<String>,
    pub(crate) rounds: Vec<Round>,
    pub(crate) failures: Vec<String>,
}

/// The result of one turn: a round, and the SHA-256 of the answers' bodies.
pub(crate) type Turn = (Round, Vec<String>);

/// One round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Units per second.
    pub(crate) rate: f64,
    /// Units in all.
    pub(crate) count: f64,
    pub(crate) seconds: f64,
    /// For a load only.
    pub(crate) latency: Option<Latency>,
}

impl Round {
    /// A round with this many units in this time.
    pub(crate) fn new(count: f64, seconds: f64, latency: Option<Latency>) -> Self {
        Self { rate: count / seconds, count, seconds, latency }
    }
}

impl Figures for Throughput {
    const NAME: &str = "throughput";

    fn answers(&self) -> Vec<(&str, Vec<&String>)> {
        self.workloads.iter().map(Measured::answers).collect()
    }
}

impl Entry {
    /// A side that has not run.
    pub(crate) fn new(name: String, command: Vec<String>) -> Self {
        Self { name, command, ..Self::default() }
    }

    fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.rate).collect()
    }
}

impl Measured {
    fn answers(&self) -> (&str, Vec<&String>) {
        let bodies = self.contenders.iter().flat_map(|entry| &entry.bodies_sha256);
        (&self.name, bodies.collect())
    }

    /// Computes the summaries and ratios from the rounds.
    pub(crate) fn summarize(&mut self) {
        let crun = self.contenders.iter().find(|entry| entry.name == "crun");
        let crun = crun.map(Entry::rates).unwrap_or_default();
        for entry in &mut self.contenders {
            let rates = entry.rates();
            entry.rate = Summary::of(&rates);
            if entry.name != "crun" {
                entry.ratio_to_crun = Ratio::of_medians(&rates, &crun);
            }
            entry.latency = median_of(&entry.rounds);
            entry.bodies_sha256.sort();
            entry.bodies_sha256.dedup();
        }
    }

    /// Adds the result of a contender's turn.
    pub(crate) fn note(&mut self, round: usize, contender: usize, result: Result<&Turn, &String>) {
        let Self { name, unit, contenders, .. } = self;
        let entry = &mut contenders[contender];
        match result {
            Ok((done, bodies)) => {
                say(&format!("{round} {name} {}: {:.1} {unit}/s", entry.name, done.rate));
                entry.rounds.push(*done);
                entry.bodies_sha256.extend_from_slice(bodies);
            }
            Err(error) => {
                say(&format!("{round} {name} {}: {error}", entry.name));
                entry.failures.push(format!("round {round}: {error}"));
            }
        }
    }
}

fn median_of(rounds: &[Round]) -> Option<Latency> {
    let all: Vec<Latency> = rounds.iter().filter_map(|round| round.latency).collect();
    let median = |of: fn(&Latency) -> f64| {
        Some(Summary::of(&all.iter().map(of).collect::<Vec<f64>>())?.median)
    };
    Some(Latency {
        p50_ms: median(|latency| latency.p50_ms)?,
        p90_ms: median(|latency| latency.p90_ms)?,
        p99_ms: median(|latency| latency.p99_ms)?,
        p999_ms: median(|latency| latency.p999_ms)?,
        max_ms: median(|latency| latency.max_ms)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_compared_with_those_of_crun() {
        let entry = |name: &str, rates: [f64; 3], body: &str| {
            let mut entry = Entry::new(name.into(), Vec::new());
            entry.rounds = rates.map(|rate| Round::new(rate, 1.0, None)).into();
            entry.bodies_sha256 = vec![body.into(), body.into()];
            entry
        };
        let contenders =
            vec![entry("launch-pv", [50.0, 40.0, 60.0], "a"), entry("crun", [100.0; 3], "a")];
        let (name, title, unit) = Default::default();
        let mut measured = Measured { name, title, unit, contenders };
        measured.summarize();
        assert_eq!(measured.contenders[0].ratio_to_crun.unwrap().value, 0.5);
        assert_eq!(measured.contenders[1].ratio_to_crun, None);
        assert_eq!(measured.contenders[0].bodies_sha256, ["a"]);
    }
}
