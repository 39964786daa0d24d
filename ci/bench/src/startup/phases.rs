//! The output of `launch run --time`: when each phase of a start began, and how long it took.

use crate::statistics::Summary;
use indexmap::IndexMap;

/// Names and milliseconds, in the order of the phases.
pub(crate) type Phases = IndexMap<String, f64>;

/// Name of the phase that spans the whole start.
pub(crate) const WHOLE: &str = "first answer";

/// Reads the lines `start ms  took ms  name` of a command's output: when each phase began, on the command's clock, and
/// how long it took. Phases overlap if guest and dom0 work at the same time.
pub(crate) fn parse(output: &str) -> (Phases, Phases) {
    let line = |line: &str| -> Option<((String, f64), (String, f64))> {
        let (start, rest) = line.trim().split_once(" ms ")?;
        let (took, name) = rest.trim().split_once(" ms ")?;
        let name = name.trim().to_owned();
        Some(((name.clone(), start.parse().ok()?), (name, took.trim().parse().ok()?)))
    };
    output.lines().filter_map(line).unzip()
}

/// The median of each phase over several starts, in the order of the first start.
pub(crate) fn medians(starts: &[Phases]) -> Phases {
    let names = starts.iter().take(1).flat_map(IndexMap::keys);
    let median = |name: &String| {
        let samples: Vec<f64> =
            starts.iter().filter_map(|start| start.get(name)).copied().collect();
        Some((name.clone(), Summary::of(&samples)?.median))
    };
    names.filter_map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     start        took\n       0.0 ms       13.4 ms  settings and state\n      \
        13.5 ms      310.4 ms  domain\nf068d1c3ba89\n     323.9 ms      674.5 ms  guest: kernel\n";

    #[test]
    fn the_lines_of_a_start_are_read_in_order_and_others_left_out() {
        let (starts, took) = parse(OUTPUT);
        let names: Vec<&String> = took.keys().collect();
        assert_eq!(names, ["settings and state", "domain", "guest: kernel"]);
        assert_eq!((took["domain"], starts["guest: kernel"]), (310.4, 323.9));
    }

    #[test]
    fn each_phase_has_its_own_median() {
        let start = |a, b| Phases::from([("b".to_owned(), a), ("a".to_owned(), b)]);
        let medians = medians(&[start(1.0, 9.0), start(2.0, 8.0), start(3.0, 1.0)]);
        assert_eq!(serde_json::to_string(&medians).unwrap(), r#"{"b":2.0,"a":8.0}"#);
    }
}
