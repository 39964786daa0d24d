//! What was measured, as a table for a terminal.

use super::report::{Filled, Report};
use crate::compare::statistics::{Ratio, Summary};
use std::fmt::Write;

/// Renders the table.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    if let Some(emulated) = &report.emulated {
        let _ = writeln!(text, "EMULATED: {emulated}\n");
    }
    let _ = writeln!(
        text,
        "{:<11} {:>4} {:>10} {:>10}   {:>7} {:>6} {:>8} {:>6} {:>7}  {:>10}",
        "", "n", "first ms", "last ms", "guest", "Xen", "monitor", "dom0", "MiB each", "down, ms"
    );
    for side in &report.sides {
        let _ = writeln!(text, "{}", row(side));
    }
    for side in &report.sides {
        let _ = writeln!(text, "{}: {}", side.name, side.ended);
        for failure in &side.failures {
            let _ = writeln!(text, "  with {} running FAILED: {}", failure.running, failure.why);
        }
    }
    for at_once in &report.at_once {
        let median = |times: &[f64]| {
            Summary::of(times).map_or("-".into(), |times| format!("{:.1} s", times.median / 1e3))
        };
        let _ = writeln!(
            text,
            "{} launches of {}: {} in a row, {} at once, {}",
            at_once.count,
            at_once.kind,
            median(&at_once.in_a_row_ms),
            median(&at_once.at_once_ms),
            at_once.ratio().map_or("no ratio".into(), ratio),
        );
        for failure in &at_once.failures {
            let _ = writeln!(text, "  FAILED: {failure}");
        }
    }
    for (name, value) in &report.ratios {
        let _ = writeln!(text, "{name}: {}", value.map_or("not measured".into(), ratio));
    }
    text
}

fn row(side: &Filled) -> String {
    let median =
        |times: Option<Summary>| times.map_or("-".into(), |times| format!("{:.0}", times.median));
    let one = side.memory_of_one().unwrap_or_default();
    format!(
        "{:<11} {:>4} {:>10} {:>10}   {:>7.2} {:>6.2} {:>8.2} {:>6.2} {:>8.2}  {:>10.0}",
        side.name,
        side.count(),
        median(side.first),
        median(side.last),
        one.guest_mib,
        one.xen_mib,
        one.monitors_mib,
        one.dom0_mib,
        one.total_mib,
        side.taken_down_ms,
    )
}

/// A ratio with its interval.
#[must_use]
pub fn ratio(ratio: Ratio) -> String {
    let Ratio { value, low, high } = ratio;
    format!("{value:.2} ({low:.2} to {high:.2})")
}
