//! Finds rings in a crate: files or folders that use each other in a circle.

use crate::resolve::{Graph, Reason};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};

/// One arrow of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The file or folder that uses that of the next step.
    pub(crate) from: PathBuf,
    /// The file with `reason`.
    pub(crate) file: PathBuf,
    /// The reason for the use.
    pub(crate) reason: Reason,
}

/// Files or folders, each of which uses the next, and the last of which uses the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ring(pub(crate) Vec<Step>);

impl fmt::Display for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            write!(formatter, "{} -> ", step.from.display())?;
        }
        write!(formatter, "{}", self.0[0].from.display())?;
        for (number, Step { file, reason, .. }) in self.0.iter().enumerate() {
            let word = if number == 0 { ", over" } else { " and" };
            let Reason { path, line } = reason;
            write!(formatter, "{word} `{path}` in line {line} of {}", file.display())?;
        }
        Ok(())
    }
}

/// The rings of a crate: among files, then in each folder among its files and folders (a folder together with the file
/// that declares its modules). Each member of any ring is in at least one of them.
pub(crate) fn rings(graph: &Graph) -> Vec<Ring> {
    let mut steps = Vec::new();
    for (file, uses) in graph {
        for (used, reason) in uses {
            let (file, reason) = (file.clone(), reason.clone());
            steps.push((used.clone(), Step { from: file.clone(), file, reason }));
        }
    }
    let mut found = rings_among(&steps);
    let folders: BTreeSet<PathBuf> =
        graph.keys().flat_map(|file| file.ancestors().skip(1).map(Path::to_owned)).collect();
    for folder in &folders {
        let unit = |file: &Path| unit(folder, file, &folders);
        let inside: Vec<(PathBuf, Step)> = steps
            .iter()
            .filter_map(|(used, step)| {
                let (from, to) = (unit(&step.file)?, unit(used)?);
                (from != to).then(|| (to, Step { from, ..step.clone() }))
            })
            .collect();
        let is_new = |ring: &Ring| ring.0.iter().any(|step| folders.contains(&step.from));
        found.extend(rings_among(&inside).into_iter().filter(is_new));
    }
    found
}

/// The file or folder in `folder` to which a file belongs; `None` if the file is not below `folder`.
fn unit(folder: &Path, file: &Path, folders: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let first = file.strip_prefix(folder).ok()?.components().next()?;
    let unit = folder.join(first);
    let declared = unit.with_extension("");
    Some(if folders.contains(&declared) { declared } else { unit })
}

fn rings_among(steps: &[(PathBuf, Step)]) -> Vec<Ring> {
    let mut from: BTreeMap<&Path, Vec<(&Path, &Step)>> = BTreeMap::new();
    for (to, step) in steps {
        from.entry(&step.from).or_default().push((to, step));
    }
    let mut covered = BTreeSet::new();
    let mut rings = Vec::new();
    for &start in from.keys() {
        if covered.contains(start) {
            continue;
        }
        if let Some(ring) = shortest_ring(start, &from) {
            covered.extend(
                ring.0
                    .iter()
                    .filter_map(|step| from.keys().find(|name| **name == step.from).copied()),
            );
            rings.push(ring);
        }
    }
    rings
}

fn shortest_ring(start: &Path, from: &BTreeMap<&Path, Vec<(&Path, &Step)>>) -> Option<Ring> {
    let mut came_by: BTreeMap<&Path, &Step> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(at) = next.pop_front() {
        for &(to, step) in from.get(at).into_iter().flatten() {
            if came_by.contains_key(to) {
                continue;
            }
            came_by.insert(to, step);
            if to != start {
                next.push_back(to);
                continue;
            }
            let mut ring = vec![step.clone()];
            while ring[0].from != start {
                ring.insert(0, came_by[ring[0].from.as_path()].clone());
            }
            return Some(Ring(ring));
        }
    }
    None
}
