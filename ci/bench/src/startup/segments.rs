//! Divides a launch into parts that follow each other, so that the parts add up to the whole.

use super::phases::{Phases, WHOLE};

/// Between two steps of the command, or of the guest.
const BETWEEN: &str = "between these";
/// All of dom0's phases that are small.
const SMALL: &str = "files, disks and interface in dom0";
/// The parts of dom0 that are shown separately, besides all parts of the guest.
const LARGE: [&str; 4] = ["domain", "devices", BETWEEN, REST];
/// After the last known phase.
const REST: &str = "the rest: the app's own start";

/// A part of a launch: its name and its milliseconds.
pub(crate) type Segment = (String, f64);

/// The parts of a contender's median start and its whole time: of the starts with phases, the one with the median first
/// answer (the later of two). Medians of each phase would not add up.
pub(crate) fn median_start(starts: &[Phases], took: &[Phases]) -> Option<(Vec<Segment>, f64)> {
    let whole = |took: &Phases| took.get(WHOLE).copied();
    let mut all: Vec<(&Phases, &Phases, f64)> = (starts.iter().zip(took))
        .filter_map(|(starts, took)| Some((starts, took, whole(took)?)))
        .collect();
    all.sort_by(|one, other| one.2.total_cmp(&other.2));
    let (starts, took, whole) = *all.get(all.len() / 2)?;
    (!starts.is_empty()).then(|| (join_small(cut(starts, took, whole)), whole))
}

/// Joins the small parts into one, at the place of the first, because readers cannot tell more parts than colours.
fn join_small(segments: Vec<Segment>) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::new();
    for (name, ms) in segments {
        let is_large = LARGE.contains(&name.as_str()) || is_of_guest(&name);
        let name = if is_large { name } else { SMALL.into() };
        match joined.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum)) => *sum += ms,
            None => joined.push((name, ms)),
        }
    }
    joined
}

fn is_of_guest(phase: &str) -> bool {
    phase.starts_with("guest: ")
}

/// Dom0's phases until the guest runs, the guest's phases, and the rest, in which the app itself starts. Excludes what
/// dom0 does at the same time as the guest.
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
            segments.push((name.clone(), ms));
        }
        at = at.max(end);
    }
    segments.push((BETWEEN.into(), between));
    segments.push((REST.into(), (whole - at).max(0.0)));
    segments.retain(|(_, ms)| *ms > 0.0);
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(segments: &[Segment]) -> String {
        segments.iter().map(|(name, ms)| format!("{name} {ms}")).collect::<Vec<_>>().join(", ")
    }

    /// Cuts `spans`, which have name, start and length of each phase.
    fn parts(spans: &[(&str, f64, f64)], whole: f64) -> String {
        let named = |of: fn(&(&str, f64, f64)) -> f64| {
            spans.iter().map(|span| (span.0.to_owned(), of(span))).collect::<Phases>()
        };
        let segments = cut(&named(|span| span.1), &named(|span| span.2), whole);
        let sum: f64 = segments.iter().map(|(_, ms)| ms).sum();
        assert!((sum - whole).abs() < 1e-6, "{segments:?}");
        show(&segments)
    }

    #[test]
    fn parts_add_up_to_the_whole_without_what_is_done_beside_the_guest() {
        let dom0 = [("arguments", 0.0, 5.0), ("domain", 10.0, 300.0), ("disks", 310.0, 100.0)];
        let whole = [("in all, until the domain runs", 0.0, 410.0)];
        let guest = [("guest: kernel", 310.0, 600.0), ("guest: exec", 910.0, 50.0)];
        let parts = parts(&[&dom0[..], &whole, &guest].concat(), 2000.0);
        let expected = "arguments 5, domain 300, guest: kernel 600, guest: exec 50";
        assert_eq!(parts, format!("{expected}, {BETWEEN} 5, {REST} 1040"));
    }

    #[test]
    fn a_phase_of_dom0_counts_until_the_guest_goes_on() {
        let dom0 = [("devices", 20.0, 60.0), ("monitor", 80.0, 5.0)];
        let guest = [("guest: orders", 50.0, 10.0), ("guest: exec", 60.0, 90.0)];
        let expected = "devices 30, guest: orders 10, guest: exec 90";
        let parts = parts(&[dom0, guest].concat(), 500.0);
        assert_eq!(parts, format!("{expected}, {BETWEEN} 20, {REST} 350"));
    }

    #[test]
    fn small_phases_of_dom0_are_one_part_and_nothing_is_lost() {
        let segments = [("image", 3.0), ("domain", 90.0), ("disks", 4.0), ("guest: exec", 5.0)];
        let joined = join_small(segments.map(|(name, ms)| (name.to_owned(), ms)).into());
        assert_eq!(show(&joined), format!("{SMALL} 7, domain 90, guest: exec 5"));
    }

    #[test]
    fn phases_of_dom0_that_overlap_are_counted_once() {
        let spans = [("image", 0.0, 30.0), ("domain", 10.0, 90.0)];
        assert_eq!(parts(&spans, 100.0), "image 30, domain 70");
    }
}
