//! The times of each step of a start, in dom0 and in the guest, on dom0's clock.

use contract::{Report, Untrusted};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A step of a start in dom0. Steps may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The name of the step.
    pub step: &'static str,
    /// When the step began.
    pub begin: Instant,
    /// How long the step took.
    pub took: Duration,
}

/// The steps of a start in dom0, in their order.
pub type Timings = Vec<Timing>;

/// When the guest completed a step of its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The name of the step.
    pub step: Untrusted,
    /// Dom0's real-time clock, in microseconds since 1970.
    pub at_unix_us: u64,
}

/// Runs one step of a start and records how long it took.
pub(crate) fn timed<T, E>(
    timings: &mut Timings,
    step: &'static str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let _span = tracing::info_span!("step", step).entered();
    let begin = Instant::now();
    let result = work();
    note(timings, step, begin);
    result
}

/// Records a step of a start that began at `begin` and ends now.
pub(crate) fn note(timings: &mut Timings, step: &'static str, begin: Instant) {
    timings.push(Timing { step, begin, took: begin.elapsed() });
}

/// Dom0's real-time clock, in microseconds since 1970.
#[must_use]
pub fn now_unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Dom0's real-time clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Converts the marks of a report that was read at `read_unix_us` to dom0's clock.
///
/// A guest sets its clock from Xen's, which dom0 keeps equal to its own, and both clocks run at the pace of Xen's
/// system time. They differ only by later corrections of dom0's clock. The guest is not trusted here: no mark is
/// later than the report, and the marks never go backwards.
pub(crate) fn moments(report: &Report, read_unix_us: u64) -> Vec<Moment> {
    let last = report.marks.iter().map(|mark| mark.at_us).max().unwrap_or(0);
    // If the guest reports no clock, assume that it wrote its last mark just now.
    let zero = report.zero_unix_us.unwrap_or(read_unix_us.saturating_sub(last));
    let mut before = 0;
    let moment = |mark: &contract::Mark| {
        let at = zero.saturating_add(mark.at_us).clamp(before, read_unix_us.max(before));
        before = at;
        Moment { step: mark.step.clone(), at_unix_us: at }
    };
    report.marks.iter().map(moment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::Mark;

    fn at(marks: &[u64], zero_unix_us: Option<u64>, read: u64) -> Vec<u64> {
        let mark = |at_us: &u64| Mark { step: "x".into(), at_us: *at_us };
        let marks = marks.iter().map(mark).collect();
        let version = contract::VERSION;
        let report = Report { version, exit: None, out_of_memory: false, marks, zero_unix_us };
        moments(&report, read).iter().map(|moment| moment.at_unix_us).collect()
    }

    #[test]
    fn a_guests_marks_are_told_on_dom0s_clock() {
        assert_eq!(at(&[10, 30], Some(5000), 9000), [5010, 5030]);
    }

    #[test]
    fn a_guest_that_tells_no_clock_wrote_its_last_mark_just_now() {
        assert_eq!(at(&[10, 30], None, 9000), [8980, 9000]);
    }

    #[test]
    fn a_guest_cannot_tell_of_what_is_to_come_or_turn_time_back() {
        assert_eq!(at(&[10, 30], Some(8985), 9000), [8995, 9000]);
        assert_eq!(at(&[u64::MAX, 5], Some(u64::MAX), 9000), [9000, 9000]);
        assert_eq!(at(&[40, 10], Some(5000), 9000), [5040, 5040]);
    }
}
