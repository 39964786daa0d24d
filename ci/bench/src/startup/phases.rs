//! What `launch run --time` says: when each phase of a start began, and its milliseconds.

use crate::compare::statistics::Summary;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Names and milliseconds in order, as one JSON object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Phases(pub Vec<(String, f64)>);

/// A start: the phases' beginnings, on the clock of the command, and their lengths. Phases overlap
/// where the guest does one thing and dom0 another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    /// When each began.
    pub starts: Phases,
    /// How long each took.
    pub took: Phases,
}

impl Timeline {
    /// Reads the lines `start ms  took ms  name` out of a command's output.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let line = |line: &str| -> Option<(String, f64, f64)> {
            let (start, rest) = line.trim().split_once(" ms ")?;
            let (took, name) = rest.trim().split_once(" ms ")?;
            Some((name.trim().to_owned(), start.parse().ok()?, took.trim().parse().ok()?))
        };
        let mut timeline = Self::default();
        for (name, start, took) in output.lines().filter_map(line) {
            timeline.starts.0.push((name.clone(), start));
            timeline.took.0.push((name, took));
        }
        timeline
    }
}

impl Phases {
    /// The median of each phase over several starts, in the first one's order.
    #[must_use]
    pub fn medians(starts: &[Self]) -> Self {
        let Some(first) = starts.first() else { return Self::default() };
        let median = |(name, _): &(String, f64)| {
            let samples: Vec<f64> = starts.iter().filter_map(|phases| phases.get(name)).collect();
            Some((name.clone(), Summary::of(&samples)?.median))
        };
        Self(first.0.iter().filter_map(median).collect())
    }

    /// One phase.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, ms)| *ms)
    }
}

impl Serialize for Phases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, ms) in &self.0 {
            map.serialize_entry(name, ms)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Phases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Phases;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object of names and milliseconds")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Phases, A::Error> {
                let mut phases = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    phases.push(entry);
                }
                Ok(Phases(phases))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     start        took\n       0.0 ms       13.4 ms  settings and state\n      \
        13.5 ms      310.4 ms  domain\nf068d1c3ba89\n     323.9 ms      674.5 ms  guest: kernel\n";

    #[test]
    fn the_lines_of_a_start_are_read_and_others_left_out() {
        let timeline = Timeline::parse(OUTPUT);
        let names: Vec<&str> = timeline.took.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["settings and state", "domain", "guest: kernel"]);
        assert_eq!(timeline.took.get("domain"), Some(310.4));
        assert_eq!(timeline.starts.get("guest: kernel"), Some(323.9));
    }

    #[test]
    fn phases_keep_their_order_in_json() {
        let phases = Phases(vec![("b".into(), 1.0), ("a".into(), 2.5)]);
        let json = serde_json::to_string(&phases).unwrap();
        assert_eq!(json, r#"{"b":1.0,"a":2.5}"#);
        assert_eq!(serde_json::from_str::<Phases>(&json).unwrap(), phases);
    }

    #[test]
    fn each_phase_has_its_own_median() {
        let start = |a, b| Phases(vec![("a".into(), a), ("b".into(), b)]);
        let medians = Phases::medians(&[start(1.0, 9.0), start(2.0, 8.0), start(3.0, 1.0)]);
        assert_eq!(medians, start(2.0, 8.0));
    }
}
