//! What `launch run --time` says: the milliseconds of each phase of a start.

use crate::compare::statistics::Summary;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Names and milliseconds in order, as one JSON object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Phases(pub Vec<(String, f64)>);

impl Phases {
    /// Reads the lines `12.3 ms  name` out of a command's output.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let line = |line: &str| {
            let (ms, name) = line.trim().split_once(" ms ")?;
            Some((name.trim().to_owned(), ms.trim().parse().ok()?))
        };
        Self(output.lines().filter_map(line).collect())
    }

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

    const OUTPUT: &str = "      13.4 ms  settings and state\n     310.4 ms  domain\nf068d1c3ba89\n     674.5 ms  guest: init\n";

    #[test]
    fn the_lines_of_a_start_are_read_and_others_left_out() {
        let phases = Phases::parse(OUTPUT);
        let names: Vec<&str> = phases.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["settings and state", "domain", "guest: init"]);
        assert_eq!(phases.get("domain"), Some(310.4));
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
