//! What was measured, as JSON.

use super::at_once::AtOnce;
use super::memory::Memory;
use super::side::Side;
use crate::compare::statistics::{Ratio, Summary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Raised when a reader of an earlier one would go wrong.
pub const VERSION: u32 = 1;
/// The first and the last launches that are compared: so many of each.
pub const COMPARED: usize = 10;

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
    /// Reference and digest of the image.
    pub image: String,
    /// Length of the image's disk.
    pub image_mib: f64,
    /// Domains first, then containers.
    pub sides: Vec<Filled>,
    /// Launches at once against as many in a row, of each type.
    pub at_once: Vec<AtOnce>,
    /// Ratios of medians; `null` where a side is missing.
    pub ratios: BTreeMap<String, Option<Ratio>>,
}

/// One start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// How many ran already.
    pub running: u16,
    /// From the command's start to the first right answer.
    pub first_200_ms: f64,
    /// From the command's start to its return.
    pub returned_ms: Option<f64>,
}

/// One that did not come up, or did not stay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// How many ran already.
    pub running: u16,
    /// What was said.
    pub why: String,
}

/// Processor time while nobody asks anything, in percent of one processor.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Idle {
    /// Of dom0.
    pub dom0_percent: f64,
    /// Of all domains together.
    pub guests_percent: f64,
}

/// One side, filled up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Filled {
    /// `launch-pv`, `launch-pvh` or `crun`.
    pub name: String,
    /// Memory that each domain was given.
    pub memory_mib: Option<u32>,
    /// How the first was started.
    pub command: Vec<String>,
    /// What was ready before each start.
    pub ready: Vec<String>,
    /// Every start that answered, one after the other.
    pub starts: Vec<Start>,
    /// Those that did not.
    pub failures: Vec<Failure>,
    /// SHA-256 of each body that was answered; one where all did the same work.
    pub bodies_sha256: Vec<String>,
    /// Why no more were started.
    pub ended: String,
    /// How many answered once more when all ran.
    pub answered_at_end: u16,
    /// What was added to what nothing used, now and then.
    pub memory: Vec<Memory>,
    /// Processor time when all ran.
    pub idle: Option<Idle>,
    /// Taking one down, with all running: all of it divided by their number.
    pub taken_down_ms: f64,
    /// The first [`COMPARED`] starts.
    pub first: Option<Summary>,
    /// The last [`COMPARED`] starts.
    pub last: Option<Summary>,
}

impl Filled {
    /// One of which none runs yet.
    #[must_use]
    pub fn new(side: &Side, command: &[String]) -> Self {
        let memory_mib = match side {
            Side::Launch { memory_mib, .. } => Some(*memory_mib),
            Side::Crun => None,
        };
        Self {
            name: side.name(),
            memory_mib,
            command: command.to_vec(),
            ready: side.ready(),
            starts: Vec::new(),
            failures: Vec::new(),
            bodies_sha256: Vec::new(),
            ended: "as many as were asked for".into(),
            answered_at_end: 0,
            memory: Vec::new(),
            idle: None,
            taken_down_ms: 0.0,
            first: None,
            last: None,
        }
    }

    /// How many ran in the end.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The share of one when most ran.
    #[must_use]
    pub fn memory_of_one(&self) -> Option<Memory> {
        self.memory.last().filter(|memory| memory.running > 0).map(Memory::of_one)
    }

    /// Whether it is of domains.
    #[must_use]
    pub fn is_launch(&self) -> bool {
        self.name.starts_with("launch")
    }

    /// Times of the first and of the last starts, in milliseconds; no start is in both.
    #[must_use]
    pub fn ends(&self) -> (Vec<f64>, Vec<f64>) {
        let times: Vec<f64> = self.starts.iter().map(|start| start.first_200_ms).collect();
        let count = COMPARED.min(times.len() / 2);
        (times[..count].to_vec(), times[times.len() - count..].to_vec())
    }
}

impl Report {
    /// Sets [`Report::ratios`] and the sides' summaries from what was measured.
    pub fn summarize(&mut self) {
        for side in &mut self.sides {
            let (first, last) = side.ends();
            side.first = Summary::of(&first);
            side.last = Summary::of(&last);
            let ratio = Ratio::of_medians(&last, &first);
            self.ratios.insert(format!("{}_last_vs_first", side.name), ratio);
        }
        for at_once in &self.at_once {
            let name = format!("launch-{}_at_once_vs_in_a_row", at_once.kind);
            self.ratios.insert(name, at_once.ratio());
        }
        let times = |side: &Filled| -> Vec<f64> {
            side.starts.iter().map(|start| start.first_200_ms).collect()
        };
        if let Some(crun) = self.sides.iter().find(|side| !side.is_launch()) {
            for side in self.sides.iter().filter(|side| side.is_launch()) {
                let ratio = Ratio::of_medians(&times(side), &times(crun));
                self.ratios.insert(format!("{}_vs_crun", side.name), ratio);
            }
        }
    }

    /// Whether all that answered gave the same answer.
    #[must_use]
    pub fn is_equal_work(&self) -> bool {
        let mut bodies: Vec<&String> =
            self.sides.iter().flat_map(|side| &side.bodies_sha256).collect();
        bodies.sort();
        bodies.dedup();
        bodies.len() <= 1
    }
}
