//! What was measured, as JSON.

use super::kernels::Kernel;
use super::phases::{Phases, medians};
use super::plan::Plan;
use super::segments::median_start;
use super::series::Series;
use crate::report::Figures;
use crate::statistics::{Ratio, Summary};
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The phases of a native launch that do together what `xl create` does: the domain is built and let
/// run, and has its devices.
const CREATE_PHASES: [&str; 2] = ["domain", "devices"];

/// What is measured; the fields' order is that of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Startup {
    /// Reference and digest of the image.
    pub(crate) image: String,
    /// What `first_200_ms` waits for: `http` or `redis-ping`.
    pub(crate) question: String,
    /// Rounds that were measured.
    pub(crate) rounds: usize,
    /// Those that ran, in the usual order.
    pub(crate) contenders: Vec<Entry>,
    /// `xl create` of a cold launch's domain with stock scripts; only its return counts.
    pub(crate) xl_create: Option<Entry>,
    /// To init: our kernel, then Debian's.
    pub(crate) kernels: Vec<Kernel>,
    /// Those that did not run, and why.
    pub(crate) missing: BTreeMap<String, String>,
    /// Ratios of medians, by the names that the targets have; `null` where a side is missing.
    pub(crate) ratios: BTreeMap<String, Option<f64>>,
    /// The 95 % interval of each ratio.
    pub(crate) intervals: BTreeMap<String, Option<[f64; 2]>>,
}

/// One contender.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// As on the command line.
    pub(crate) name: String,
    /// Starts that are in the figures.
    pub(crate) n: usize,
    /// Starts that failed; they are in no figure.
    pub(crate) failed: usize,
    /// From the command's start to the first right answer.
    pub(crate) first_200_ms: Option<Summary>,
    /// From the command's start to its return.
    pub(crate) returned_ms: Option<Summary>,
    /// Median of each phase that `launch run --time` tells, in its order, in starts of their own.
    pub(crate) phases_ms: Phases,
    /// First answer against crun's; none for crun itself.
    pub(crate) ratio_to_crun: Option<Ratio>,
    /// First answer against docker's; none for docker itself.
    pub(crate) ratio_to_docker: Option<Ratio>,
    /// SHA-256 of each body that was answered; one where all starts did the same work.
    pub(crate) bodies_sha256: Vec<String>,
    /// How it was started.
    pub(crate) plan: Plan,
    /// First answers in the order of the rounds.
    pub(crate) samples_first_200_ms: Vec<f64>,
    /// Returns likewise.
    pub(crate) samples_returned_ms: Vec<f64>,
    /// The phases of each start that told them.
    pub(crate) samples_phases_ms: Vec<Phases>,
    /// When each of them began, from the command's own beginning on; phases overlap.
    #[serde(default)]
    pub(crate) samples_phase_starts_ms: Vec<Phases>,
    /// First answer of the start before the rounds, which is in no figure.
    pub(crate) warm_up_ms: Option<f64>,
    /// What went wrong in the starts that failed.
    pub(crate) failures: Vec<String>,
}

impl Entry {
    /// Summarizes a series, against the first answers of crun and of docker.
    pub(crate) fn new(series: &Series, crun: &[f64], docker: &[f64]) -> Self {
        let (firsts, returns) = (series.firsts(), series.returns());
        let failures: Vec<String> = series
            .rounds
            .iter()
            .filter(|round| !series.is_good(round))
            .map(|round| {
                let output = round.output.trim();
                format!("exit code {:?}: {:?}: {output}", round.exit_code, round.failures)
            })
            .collect();
        let measures = series.rounds.iter().chain(&series.warm_up);
        let mut bodies: Vec<String> =
            measures.filter_map(|measure| measure.body_sha256.clone()).collect();
        bodies.sort();
        bodies.dedup();
        let lengths: Vec<Phases> = series.phases.iter().map(|start| start.took.clone()).collect();
        Self {
            name: series.name.clone(),
            n: series.rounds.len() - failures.len(),
            failed: failures.len(),
            first_200_ms: Summary::of(&firsts),
            returned_ms: Summary::of(&returns),
            phases_ms: medians(&lengths),
            ratio_to_crun: Ratio::of_medians(&firsts, crun).filter(|_| series.name != "crun"),
            ratio_to_docker: Ratio::of_medians(&firsts, docker).filter(|_| series.name != "docker"),
            bodies_sha256: bodies,
            plan: series.plan.clone(),
            samples_first_200_ms: firsts,
            samples_returned_ms: returns,
            samples_phases_ms: lengths,
            samples_phase_starts_ms: series
                .phases
                .iter()
                .map(|start| start.starts.clone())
                .collect(),
            warm_up_ms: series.warm_up.as_ref().and_then(|measure| measure.first_answer_ms),
            failures,
        }
    }
}

impl Startup {
    /// Sets [`Startup::ratios`] and [`Startup::intervals`] from what was measured.
    pub(crate) fn set_ratios(&mut self, is_emulated: bool) {
        let firsts = |name: &str| {
            let entry = self.contenders.iter().find(|entry| entry.name == name);
            entry.map(|entry| entry.samples_first_200_ms.clone()).unwrap_or_default()
        };
        // The type that `launch` chooses by itself on such a machine.
        let usual = if is_emulated { "launch-native-pv" } else { "launch-native-pvh" };
        let crun = firsts("crun");
        let cold = self.contenders.iter().find(|entry| entry.name == "launch-native-pvh");
        let created: Vec<f64> = cold
            .iter()
            .flat_map(|entry| &entry.samples_phases_ms)
            .filter_map(|phases| {
                let parts: Vec<&f64> =
                    CREATE_PHASES.iter().filter_map(|name| phases.get(*name)).collect();
                (!parts.is_empty()).then(|| parts.into_iter().sum())
            })
            .collect();
        let xl_create = self.xl_create.as_ref().map(|entry| entry.samples_returned_ms.clone());
        let boots = |index: usize| {
            let kernel = self.kernels.get(index);
            kernel.map(|kernel| kernel.samples_guest_ms.clone()).unwrap_or_default()
        };
        let all = [
            ("native_create_vs_xl_create", created, xl_create.unwrap_or_default()),
            ("cold_vs_crun", firsts(usual), crun.clone()),
            ("pooled_vs_crun", firsts("launch-pool"), crun),
            ("kernel_vs_debian", boots(0), boots(1)),
        ];
        for (name, ours, theirs) in all {
            let ratio = Ratio::of_medians(&ours, &theirs);
            self.ratios.insert(name.into(), ratio.map(|ratio| ratio.value));
            self.intervals.insert(name.into(), ratio.map(|ratio| [ratio.low, ratio.high]));
        }
    }
}

impl Figures for Startup {
    const NAME: &str = "startup-time";

    fn extra(&self) -> Value {
        let start = |entry: &Entry| {
            let (starts, took) = (&entry.samples_phase_starts_ms, &entry.samples_phases_ms);
            let (segments, whole_ms) = median_start(starts, took)?;
            Some(context! { name => &entry.name, segments, whole_ms })
        };
        context! { median_starts => self.contenders.iter().filter_map(start).collect::<Vec<_>>() }
    }

    fn answers(&self) -> Vec<(&str, Vec<&String>)> {
        let bodies = self.contenders.iter().flat_map(|entry| &entry.bodies_sha256);
        vec![("the contenders", bodies.collect())]
    }
}

/// Summarizes each contender, against crun and docker where those ran.
pub(crate) fn entries(all: &[Series]) -> Vec<Entry> {
    let firsts_of = |name: &str| {
        let found = all.iter().find(|series| series.name == name);
        found.map(Series::firsts).unwrap_or_default()
    };
    let (crun, docker) = (firsts_of("crun"), firsts_of("docker"));
    all.iter().map(|series| Entry::new(series, &crun, &docker)).collect()
}
