//! The figures, as JSON.

use super::kernels::Kernel;
use super::phases::{Phases, medians};
use super::plan::Plan;
use super::segments::median_start;
use crate::report::Figures;
use crate::statistics::{Ratio, Summary};
use lab_client::measure::Measure;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The phases of a native launch that together do the work of `xl create`: they build the domain, attach its devices,
/// and unpause it.
const CREATE_PHASES: [&str; 2] = ["domain", "devices"];

/// The figures; the file has the same order of fields. `pages/startup-time.md` describes them.
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

/// The results of one contender.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// A contender that has not run.
    pub(crate) fn new(name: &str, plan: Plan) -> Self {
        Self { name: name.into(), plan, ..Self::default() }
    }

    /// Adds a start of a round.
    pub(crate) fn note(&mut self, start: Measure, is_good: bool) {
        if is_good {
            self.n += 1;
            self.samples_first_200_ms.extend(start.first_answer_ms);
            self.samples_returned_ms.extend(start.returned_ms);
        } else {
            self.failed += 1;
            self.failures.push(start.why());
        }
        self.bodies_sha256.extend(start.body_sha256);
    }

    /// Summarizes the starts, in comparison with the first answers of crun and of docker.
    fn summarize(&mut self, crun: &[f64], docker: &[f64]) {
        let firsts = &self.samples_first_200_ms;
        self.first_200_ms = Summary::of(firsts);
        self.returned_ms = Summary::of(&self.samples_returned_ms);
        self.phases_ms = medians(&self.samples_phases_ms);
        self.ratio_to_crun = Ratio::of_medians(firsts, crun).filter(|_| self.name != "crun");
        self.ratio_to_docker = Ratio::of_medians(firsts, docker).filter(|_| self.name != "docker");
        self.bodies_sha256.sort();
        self.bodies_sha256.dedup();
    }
}

impl Startup {
    /// Summarizes the contenders, and computes [`Startup::ratios`] and [`Startup::intervals`].
    pub(crate) fn summarize(&mut self, is_emulated: bool) {
        let (crun, docker) = (self.firsts("crun"), self.firsts("docker"));
        for entry in self.contenders.iter_mut().chain(&mut self.xl_create) {
            entry.summarize(&crun, &docker);
        }
        // The type that `launch` chooses on such a machine.
        let usual = if is_emulated { "launch-native-pv" } else { "launch-native-pvh" };
        let cold = self.contenders.iter().find(|entry| entry.name == "launch-native-pvh");
        let create = |phases: &Phases| {
            CREATE_PHASES.iter().filter_map(|name| phases.get(*name).copied()).reduce(|a, b| a + b)
        };
        let created = cold.iter().flat_map(|entry| &entry.samples_phases_ms).filter_map(create);
        let created: Vec<f64> = created.collect();
        let xl_create = self.xl_create.as_ref().map(|entry| entry.samples_returned_ms.clone());
        let boots = |index: usize| {
            let kernel = self.kernels.get(index);
            kernel.map(|kernel| kernel.samples_guest_ms.clone()).unwrap_or_default()
        };
        let all = [
            ("native_create_vs_xl_create", created, xl_create.unwrap_or_default()),
            ("cold_vs_crun", self.firsts(usual), crun.clone()),
            ("pooled_vs_crun", self.firsts("launch-pool"), crun),
            ("kernel_vs_debian", boots(0), boots(1)),
        ];
        for (name, ours, theirs) in all {
            let ratio = Ratio::of_medians(&ours, &theirs);
            self.ratios.insert(name.into(), ratio.map(|ratio| ratio.value));
            self.intervals.insert(name.into(), ratio.map(|ratio| [ratio.low, ratio.high]));
        }
    }

    fn firsts(&self, name: &str) -> Vec<f64> {
        let entry = self.contenders.iter().find(|entry| entry.name == name);
        entry.map(|entry| entry.samples_first_200_ms.clone()).unwrap_or_default()
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
