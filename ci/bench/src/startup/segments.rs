//! A launch cut into what follows each other, so that the parts add up to the whole.

use super::phases::{Phases, WHOLE};
use super::report::Entry;

/// Between two steps of the command, or of the guest.
const BETWEEN: &str = "between these";
/// All of dom0's phases that are no more than a sliver each.
const SMALL: &str = "files, disks and interface in dom0";
/// Those of dom0 that are more.
const LARGE: [&str; 2] = ["domain", "devices"];
/// After the last that is known.
const REST: &str = "the rest: the app's own start";

/// A part of a launch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    /// What was done.
    pub(crate) name: String,
    /// How long that took.
    pub(crate) ms: f64,
}

/// The parts of a contender's middle start: of those that told their phases, the one whose first
/// answer is the median (the later of two). Medians of each phase would not add up.
pub(crate) fn segments(entry: &Entry) -> Vec<Segment> {
    let mut all: Vec<(&Phases, &Phases, f64)> = (entry.samples_phase_starts_ms.iter())
        .zip(&entry.samples_phases_ms)
        .filter_map(|(starts, took)| Some((starts, took, *took.get(WHOLE)?)))
        .collect();
    all.sort_by(|one, other| one.2.total_cmp(&other.2));
    match all.get(all.len() / 2) {
        Some((starts, took, whole)) if !starts.is_empty() => join_small(cut(starts, took, *whole)),
        _ => Vec::new(),
    }
}

/// The small ones as one part, where the first of them is: more parts than colours tell nobody anything.
fn join_small(segments: Vec<Segment>) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::new();
    for mut segment in segments {
        let name = segment.name.as_str();
        if !(LARGE.contains(&name) || [BETWEEN, REST].contains(&name) || is_of_guest(name)) {
            segment.name = SMALL.into();
        }
        match joined.iter_mut().find(|other| other.name == segment.name) {
            Some(other) => other.ms += segment.ms,
            None => joined.push(segment),
        }
    }
    joined
}

fn is_of_guest(phase: &str) -> bool {
    phase.starts_with("guest: ")
}

/// Dom0's phases until the guest goes on, the guest's, and the rest, in which the app itself starts.
/// What dom0 does beside the guest is no part of it.
fn cut(starts: &Phases, took: &Phases, whole: f64) -> Vec<Segment> {
    let spans = || {
        let lengths = took.iter().filter(|(name, _)| *name != WHOLE && !name.starts_with("in all"));
        lengths.filter_map(|(name, ms)| {
            let start = *starts.get(name)?;
            Some((name, start, start + ms))
        })
    };
    let guest = spans().filter(|(name, ..)| is_of_guest(name));
    let handover = guest.clone().map(|(_, start, _)| start).fold(whole, f64::min);

    let mut dom0: Vec<_> = spans().filter(|(name, ..)| !is_of_guest(name)).collect();
    dom0.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut segments = Vec::new();
    let (mut at, mut between) = (0.0, 0.0);
    let until_handover =
        dom0.into_iter().map(|(name, start, end)| (name, start, end.min(handover)));
    for (name, start, end) in until_handover.chain(guest) {
        between += (start.min(end) - at).max(0.0);
        let ms = end - f64::max(start, at);
        if ms > 0.0 {
            segments.push(Segment { name: name.clone(), ms });
        }
        at = at.max(end);
    }
    segments.push(Segment { name: BETWEEN.into(), ms: between });
    segments.push(Segment { name: REST.into(), ms: (whole - at).max(0.0) });
    segments.retain(|segment| segment.ms > 0.0);
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(spans: &[(&str, f64, f64)], whole: f64) -> Vec<(String, f64)> {
        let named = |of: fn(&(&str, f64, f64)) -> f64| {
            spans.iter().map(|span| (span.0.to_owned(), of(span))).collect::<Phases>()
        };
        let segments = cut(&named(|span| span.1), &named(|span| span.2), whole);
        let sum: f64 = segments.iter().map(|segment| segment.ms).sum();
        assert!((sum - whole).abs() < 1e-6, "{segments:?}");
        segments.into_iter().map(|segment| (segment.name, segment.ms)).collect()
    }

    #[test]
    fn parts_add_up_to_the_whole_without_what_is_done_beside_the_guest() {
        let parts = parts(
            &[
                ("arguments", 0.0, 5.0),
                ("domain", 10.0, 300.0),
                ("disks", 310.0, 100.0),
                ("in all, until the domain runs", 0.0, 410.0),
                ("guest: kernel", 310.0, 600.0),
                ("guest: exec", 910.0, 50.0),
            ],
            2000.0,
        );
        let expected = [
            ("arguments", 5.0),
            ("domain", 300.0),
            ("guest: kernel", 600.0),
            ("guest: exec", 50.0),
            (BETWEEN, 5.0),
            (REST, 1040.0),
        ];
        assert_eq!(parts, expected.map(|(name, ms)| (name.to_owned(), ms)));
    }

    #[test]
    fn a_phase_of_dom0_counts_until_the_guest_goes_on() {
        let spans = [
            ("devices", 20.0, 60.0),
            ("monitor", 80.0, 5.0),
            ("guest: orders", 50.0, 10.0),
            ("guest: exec", 60.0, 90.0),
        ];
        let expected = [
            ("devices", 30.0),
            ("guest: orders", 10.0),
            ("guest: exec", 90.0),
            (BETWEEN, 20.0),
            (REST, 350.0),
        ];
        assert_eq!(parts(&spans, 500.0), expected.map(|(name, ms)| (name.to_owned(), ms)));
    }

    #[test]
    fn small_phases_of_dom0_are_one_part_and_nothing_is_lost() {
        let segments = [("image", 3.0), ("domain", 90.0), ("disks", 4.0), ("guest: exec", 5.0)];
        let segments = segments.map(|(name, ms)| Segment { name: name.into(), ms });
        let joined = join_small(segments.into()).into_iter().map(|part| (part.name, part.ms));
        let expected = [(SMALL, 7.0), ("domain", 90.0), ("guest: exec", 5.0)];
        assert!(joined.eq(expected.map(|(name, ms)| (name.to_owned(), ms))));
    }

    #[test]
    fn phases_of_dom0_that_overlap_are_counted_once() {
        let parts = parts(&[("image", 0.0, 30.0), ("domain", 10.0, 90.0)], 100.0);
        assert_eq!(parts, [("image".to_owned(), 30.0), ("domain".to_owned(), 70.0)]);
    }
}
