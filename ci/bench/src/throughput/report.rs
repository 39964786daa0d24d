//! What was measured, as JSON.

use crate::compare::statistics::{Ratio, Summary};
use lab_client::measure::Latency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Raised when a reader of an earlier one would go wrong.
pub const VERSION: u32 = 1;

/// The whole of it; the fields' order is that of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Not on hardware: says so, and what that distorts.
    pub emulated: Option<String>,
    /// [`VERSION`].
    pub version: u32,
    /// When it was made, in UTC.
    pub date: String,
    /// The command line that made it.
    pub command: String,
    /// Machine, Xen, kernels, versions: name to value.
    pub machine: BTreeMap<String, String>,
    /// Reference and digest of each image.
    pub images: Vec<String>,
    /// Rounds.
    pub rounds: u16,
    /// Connections of a load, and its seconds.
    pub connections: u32,
    /// Length of each load.
    pub seconds: u32,
    /// Memory of a domain.
    pub memory_mib: u32,
    /// What was ready before each app was started, by contender.
    pub ready: BTreeMap<String, Vec<String>>,
    /// Each workload.
    pub workloads: Vec<Measured>,
}

/// One workload on all sides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// As on the command line.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What `rate` counts in a second: `requests`, `MiB` or `writes`.
    pub unit: String,
    /// Each side.
    pub contenders: Vec<Entry>,
}

/// One side of a workload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// `launch-pvh`, `launch-pv` or `crun`.
    pub name: String,
    /// The command that started the app.
    pub command: Vec<String>,
    /// Of each round that went well, units a second.
    pub rate: Option<Summary>,
    /// Median over the rounds of each quantile; none where nothing was asked.
    pub latency: Option<Latency>,
    /// Rate against crun's; none for crun itself.
    pub ratio_to_crun: Option<Ratio>,
    /// SHA-256 of each body; one where all did the same work.
    pub bodies_sha256: Vec<String>,
    /// The rounds that went well.
    pub rounds: Vec<Round>,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// One round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Units a second.
    pub rate: f64,
    /// Units in all.
    pub count: f64,
    /// Their time.
    pub seconds: f64,
    /// Of a load.
    pub latency: Option<Latency>,
}

impl Entry {
    /// One that has not run yet.
    #[must_use]
    pub fn new(name: &str, command: Vec<String>) -> Self {
        Self {
            name: name.into(),
            command,
            rate: None,
            latency: None,
            ratio_to_crun: None,
            bodies_sha256: Vec::new(),
            rounds: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.rate).collect()
    }
}

impl Measured {
    /// Sets the summaries and ratios from the rounds.
    pub fn summarize(&mut self) {
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

    /// Whether all that answered gave the same answer.
    #[must_use]
    pub fn is_equal_work(&self) -> bool {
        let mut bodies: Vec<&String> =
            self.contenders.iter().flat_map(|entry| &entry.bodies_sha256).collect();
        bodies.sort();
        bodies.dedup();
        bodies.len() <= 1
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
            let mut entry = Entry::new(name, Vec::new());
            let round = |rate| Round { rate, count: rate, seconds: 1.0, latency: None };
            entry.rounds = rates.map(round).into();
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
        assert!(measured.is_equal_work());
        measured.contenders[0].bodies_sha256 = vec!["b".into()];
        assert!(!measured.is_equal_work());
    }
}
