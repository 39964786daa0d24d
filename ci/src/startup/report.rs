//! What was measured, as JSON and as a table.

use super::contender::Contender;
use super::measure::Measure;
use super::plan::Plan;
use super::statistics::{Ratio, Summary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Raised when a reader of an earlier one would go wrong.
pub const VERSION: u32 = 1;

/// The whole of it; the fields' order is that of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Not on hardware: says so, and what that distorts. First in the file, as nothing else counts
    /// before it is known.
    pub emulated: Option<String>,
    /// [`VERSION`].
    pub version: u32,
    /// When it was made; `YYYY-MM-DD`, UTC.
    pub date: String,
    /// The command line that made it.
    pub command: String,
    /// Machine, Xen, kernels, versions: name to value.
    pub machine: BTreeMap<String, String>,
    /// Reference and digest of the image.
    pub image: String,
    /// `http` or `redis-ping`: what `first_200_ms` waits for.
    pub question: String,
    /// Rounds that were measured.
    pub rounds: usize,
    /// Those that ran, in the usual order.
    pub contenders: Vec<Entry>,
    /// Those that did not, and why.
    pub missing: BTreeMap<String, String>,
    /// Ratios of medians, by the names that the targets have; `null` where a side is missing.
    pub ratios: BTreeMap<String, Option<f64>>,
    /// The 95 % interval of each ratio.
    pub intervals: BTreeMap<String, Option<[f64; 2]>>,
}

/// One contender.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// As on the command line.
    pub name: String,
    /// Starts that are in the figures.
    pub n: usize,
    /// Starts that never answered; they are in no figure.
    pub failed: usize,
    /// From the command's start to the first right answer.
    pub first_200_ms: Option<Summary>,
    /// From the command's start to its return.
    pub returned_ms: Option<Summary>,
    /// Median of each phase that `launch run --time` tells, in its order, in launches of their own.
    pub phases_ms: Vec<(String, f64)>,
    /// Against crun's first answer.
    pub ratio_to_crun: Option<Ratio>,
    /// Against docker's first answer.
    pub ratio_to_docker: Option<Ratio>,
    /// SHA-256 of the answer's body, the same in all rounds.
    pub body_sha256: Option<String>,
    /// How it was started.
    pub plan: Plan,
    /// First answers in the order of the rounds.
    pub samples_first_200_ms: Vec<f64>,
    /// Returns likewise.
    pub samples_returned_ms: Vec<f64>,
    /// The unmeasured first start: to the answer.
    pub warm_up_ms: Option<f64>,
    /// What went wrong in the starts that failed.
    pub failures: Vec<String>,
}

/// All starts of one contender.
#[derive(Debug, Clone)]
pub struct Series {
    /// Who.
    pub contender: Contender,
    /// How.
    pub plan: Plan,
    /// The start that warms the page cache up.
    pub warm_up: Option<Measure>,
    /// The others.
    pub rounds: Vec<Measure>,
    /// See [`Entry::phases_ms`].
    pub phases_ms: Vec<(String, f64)>,
}

impl Series {
    fn firsts(&self) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.first_answer_ms).collect()
    }

    fn returns(&self) -> Vec<f64> {
        self.rounds
            .iter()
            .filter(|round| round.first_answer_ms.is_some())
            .filter_map(|round| round.returned_ms)
            .collect()
    }
}

/// Summarizes each contender, against crun and docker where those ran.
#[must_use]
pub fn entries(all: &[Series]) -> Vec<Entry> {
    let firsts_of = |name: &str| {
        let found = all.iter().find(|series| series.contender.to_string() == name);
        found.map(Series::firsts).unwrap_or_default()
    };
    let (crun, docker) = (firsts_of("crun"), firsts_of("docker"));
    let entry = |series: &Series| {
        let (firsts, returns) = (series.firsts(), series.returns());
        let failures: Vec<String> = series
            .rounds
            .iter()
            .filter(|round| round.first_answer_ms.is_none())
            .map(|round| {
                format!(
                    "exit code {:?}: {:?}: {}",
                    round.exit_code,
                    round.failures,
                    round.output.trim()
                )
            })
            .collect();
        Entry {
            name: series.contender.to_string(),
            n: firsts.len(),
            failed: failures.len(),
            first_200_ms: Summary::of(&firsts),
            returned_ms: Summary::of(&returns),
            phases_ms: series.phases_ms.clone(),
            ratio_to_crun: Ratio::of_medians(&firsts, &crun),
            ratio_to_docker: Ratio::of_medians(&firsts, &docker),
            body_sha256: series.rounds.iter().find_map(|round| round.body_sha256.clone()),
            plan: series.plan.clone(),
            samples_first_200_ms: firsts,
            samples_returned_ms: returns,
            warm_up_ms: series.warm_up.as_ref().and_then(|measure| measure.first_answer_ms),
            failures,
        }
    };
    all.iter().map(entry).collect()
}

/// The hashes of all answers; one where all contenders did the same work.
#[must_use]
pub fn answers(all: &[Series]) -> Vec<String> {
    let measures = all.iter().flat_map(|series| series.rounds.iter().chain(&series.warm_up));
    let mut hashes: Vec<String> =
        measures.filter_map(|measure| measure.body_sha256.clone()).collect();
    hashes.sort();
    hashes.dedup();
    hashes
}

/// Renders the table for a terminal; times in milliseconds.
#[must_use]
pub fn render_table(report: &Report) -> String {
    let mut text = String::new();
    if let Some(emulated) = &report.emulated {
        let _ = writeln!(text, "EMULATED: {emulated}\n");
    }
    let _ = writeln!(
        text,
        "{:<18} {:>3}  {:>7} {:>7} {:>7} {:>7} {:>7}  {:>8}  {:<20} {:<20}",
        "first answer, ms",
        "n",
        "min",
        "median",
        "p90",
        "max",
        "spread",
        "returned",
        "to crun",
        "to docker"
    );
    for entry in &report.contenders {
        let Some(first) = entry.first_200_ms else {
            let _ =
                writeln!(text, "{:<18} never answered: {}", entry.name, entry.failures.join("; "));
            continue;
        };
        let returned =
            entry.returned_ms.map_or(String::new(), |times| format!("{:.0}", times.median));
        let _ = write!(
            text,
            "{:<18} {:>3}  {:>7.0} {:>7.0} {:>7.0} {:>7.0} {:>7.0}  {returned:>8}  {:<20} {:<20}",
            entry.name,
            entry.n,
            first.min,
            first.median,
            first.p90,
            first.max,
            first.max - first.min,
            render_ratio(entry.ratio_to_crun),
            render_ratio(entry.ratio_to_docker),
        );
        if entry.failed > 0 {
            let _ = write!(text, "  {} FAILED: {}", entry.failed, entry.failures[0]);
        }
        let _ = writeln!(text);
    }
    for (name, reason) in &report.missing {
        let _ = writeln!(text, "{name:<18} not here: {reason}");
    }
    let _ = writeln!(text);
    for (name, value) in &report.ratios {
        if let Some(value) = value {
            let _ = write!(text, "{name}: {value:.3}");
            if let Some(Some([low, high])) = report.intervals.get(name) {
                let _ = write!(text, " ({low:.3} to {high:.3})");
            }
            let _ = writeln!(text);
        }
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn render_ratio(ratio: Option<Ratio>) -> String {
    ratio.map_or(String::new(), |ratio| {
        format!("{:.2} ({:.2} to {:.2})", ratio.value, ratio.low, ratio.high)
    })
}
