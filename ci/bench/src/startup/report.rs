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

/// What is measured; the fields' order is that of the file. `pages/startup-time.md` says what they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Startup {
    pub(crate) image: String,
    pub(crate) question: String,
    pub(crate) rounds: usize,
    pub(crate) contenders: Vec<Entry>,
    pub(crate) xl_create: Option<Entry>,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) missing: BTreeMap<String, String>,
    pub(crate) ratios: BTreeMap<String, Option<f64>>,
    pub(crate) intervals: BTreeMap<String, Option<[f64; 2]>>,
}

/// One contender.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) n: usize,
    pub(crate) failed: usize,
    pub(crate) first_200_ms: Option<Summary>,
    pub(crate) returned_ms: Option<Summary>,
    pub(crate) phases_ms: Phases,
    pub(crate) ratio_to_crun: Option<Ratio>,
    pub(crate) ratio_to_docker: Option<Ratio>,
    pub(crate) bodies_sha256: Vec<String>,
    pub(crate) plan: Plan,
    pub(crate) samples_first_200_ms: Vec<f64>,
    pub(crate) samples_returned_ms: Vec<f64>,
    pub(crate) samples_phases_ms: Vec<Phases>,
    #[serde(default)]
    pub(crate) samples_phase_starts_ms: Vec<Phases>,
    pub(crate) warm_up_ms: Option<f64>,
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
