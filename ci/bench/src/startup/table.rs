//! What was measured, as a table for a terminal.

use super::report::{Entry, Report};
use crate::compare::statistics::{Ratio, Summary};
use std::fmt::Write;

/// Renders the table; times in milliseconds.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    if let Some(emulated) = &report.emulated {
        let _ = writeln!(text, "EMULATED: {emulated}\n");
    }
    let _ = writeln!(
        text,
        "{:<18} {:>3}  {:>7} {:>7} {:>7} {:>7} {:>7}  {:>8}  {:<21} to docker",
        "first answer, ms", "n", "min", "median", "p90", "max", "spread", "returned", "to crun"
    );
    for entry in &report.contenders {
        let _ = writeln!(text, "{}", row(entry));
    }
    for (name, reason) in &report.missing {
        let _ = writeln!(text, "{name:<18} not here: {reason}");
    }
    let _ = writeln!(text);
    if let Some(Entry { returned_ms: Some(times), n, .. }) = &report.xl_create {
        let _ = writeln!(text, "xl create of the same domain, stock scripts: {}", line(*n, times));
    }
    for kernel in &report.kernels {
        if let (Some(guest), Some(seen)) = (&kernel.guest_ms, &kernel.seen_ms) {
            let guest = line(kernel.n, guest);
            let _ = writeln!(
                text,
                "{} to init: {guest} on its clock; median {:.0} on dom0's",
                kernel.kernel, seen.median
            );
        }
    }
    for (name, value) in &report.ratios {
        let Some(value) = value else { continue };
        let _ = write!(text, "{name}: {value:.3}");
        if let Some(Some([low, high])) = report.intervals.get(name) {
            let _ = write!(text, " ({low:.3} to {high:.3})");
        }
        let _ = writeln!(text);
    }
    if !report.is_equal_work() {
        let _ = writeln!(text, "NOT EQUAL WORK: the answers differ");
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn row(entry: &Entry) -> String {
    let Some(first) = entry.first_200_ms else {
        return format!("{:<18} never answered: {}", entry.name, entry.failures.join("; "));
    };
    let returned = entry.returned_ms.map_or(String::new(), |times| format!("{:.0}", times.median));
    let mut text = format!(
        "{:<18} {:>3}  {:>7.0} {:>7.0} {:>7.0} {:>7.0} {:>7.0}  {returned:>8}  {:<21} {}",
        entry.name,
        entry.n,
        first.min,
        first.median,
        first.p90,
        first.max,
        first.max - first.min,
        ratio(entry.ratio_to_crun),
        ratio(entry.ratio_to_docker),
    );
    if let Some(failure) = entry.failures.first() {
        let _ = write!(text, "  {} FAILED: {failure}", entry.failed);
    }
    text
}

fn line(n: usize, times: &Summary) -> String {
    let Summary { min, median, p90, max } = times;
    format!("median {median:.0} ms (n {n}, min {min:.0}, p90 {p90:.0}, max {max:.0})")
}

fn ratio(ratio: Option<Ratio>) -> String {
    ratio.map_or(String::new(), |Ratio { value, low, high }| {
        format!("{value:.2} ({low:.2} to {high:.2})")
    })
}
