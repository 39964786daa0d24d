//! The figures, as JSON.

use super::at_once::AtOnce;
use super::memory::Memory;
use crate::report::Figures;
use crate::side::Side;
use crate::statistics::{Ratio, Summary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many of the first and of the last launches are compared. `pages/density.md` has the number too.
const COMPARED: usize = 10;

/// The figures; the file has the same order of fields. `pages/density.md` describes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Density {
    pub(crate) image: String,
    pub(crate) image_mib: f64,
    pub(crate) sides: Vec<Filled>,
    pub(crate) at_once: Vec<AtOnce>,
    pub(crate) ratios: BTreeMap<String, Option<Ratio>>,
}

/// One start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    /// How many already ran.
    pub(crate) running: u16,
    pub(crate) first_200_ms: f64,
    pub(crate) returned_ms: Option<f64>,
}

/// An app that did not start, or did not keep running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// How many already ran.
    pub(crate) running: u16,
    pub(crate) why: String,
}

/// Processor time of apps that receive no requests, in percent of one processor.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) dom0_percent: f64,
    pub(crate) guests_percent: f64,
}

/// The results of one side.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Filled {
    pub(crate) name: String,
    pub(crate) memory_mib: Option<u32>,
    pub(crate) command: Vec<String>,
    pub(crate) ready: Vec<String>,
    pub(crate) starts: Vec<Start>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) bodies_sha256: Vec<String>,
    /// Why no more were started.
    pub(crate) ended: String,
    pub(crate) answered_at_end: u16,
    /// Memory in use, at several numbers of running apps.
    pub(crate) memory: Vec<Memory>,
    pub(crate) idle: Option<Idle>,
    /// Time to remove one while all run: the whole time divided by their number.
    pub(crate) taken_down_ms: f64,
    pub(crate) first: Option<Summary>,
    pub(crate) last: Option<Summary>,
}

impl Filled {
    /// A side that has not started; `command` starts the first app.
    pub(crate) fn new(side: &Side, command: Vec<String>) -> Self {
        let memory_mib =
            if let Side::Domain { memory_mib, .. } = side { Some(*memory_mib) } else { None };
        Self {
            name: side.name(),
            memory_mib,
            command,
            ready: side.ready(),
            ended: "as many as were asked for".into(),
            ..Self::default()
        }
    }

    fn times(&self) -> Vec<f64> {
        self.starts.iter().map(|start| start.first_200_ms).collect()
    }
}

impl Density {
    /// Computes [`Density::ratios`] and the sides' summaries.
    pub(crate) fn summarize(&mut self) {
        for side in &mut self.sides {
            // The first and the last starts must not overlap.
            let times = side.times();
            let count = COMPARED.min(times.len() / 2);
            let (first, last) = (&times[..count], &times[times.len() - count..]);
            side.first = Summary::of(first);
            side.last = Summary::of(last);
            let ratio = Ratio::of_medians(last, first);
            self.ratios.insert(format!("{}_last_vs_first", side.name), ratio);
        }
        for at_once in &self.at_once {
            let name = format!("launch-{}_at_once_vs_in_a_row", at_once.kind);
            let ratio = Ratio::of_medians(&at_once.at_once_ms, &at_once.in_a_row_ms);
            self.ratios.insert(name, ratio);
        }
        if let Some(crun) = self.sides.iter().find(|side| side.memory_mib.is_none()) {
            for side in self.sides.iter().filter(|side| side.memory_mib.is_some()) {
                let ratio = Ratio::of_medians(&side.times(), &crun.times());
                self.ratios.insert(format!("{}_vs_crun", side.name), ratio);
            }
        }
    }
}

impl Figures for Density {
    const NAME: &str = "density";

    fn answers(&self) -> Vec<(&str, Vec<&String>)> {
        vec![("the sides", self.sides.iter().flat_map(|side| &side.bodies_sha256).collect())]
    }
}
