//! What was measured, as a table for a terminal.

use super::report::{Entry, Measured, Report};
use crate::compare::statistics::Ratio;
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
        "{:<28} {:>2} {:>9} {:>9} {:>9}  {:>8} {:>8} {:>8} {:>8}  to crun",
        "", "n", "min /s", "median /s", "max /s", "p50 ms", "p90", "p99", "p99.9"
    );
    for measured in &report.workloads {
        let _ = writeln!(text, "{}, {}", measured.title, measured.unit);
        for entry in &measured.contenders {
            let _ = writeln!(text, "{}", row(measured, entry));
        }
    }
    text
}

fn row(measured: &Measured, entry: &Entry) -> String {
    let Some(rate) = entry.rate else {
        let why = entry.failures.join("; ");
        return format!("  {:<26} nothing of {}: {why}", entry.name, measured.name);
    };
    let latency = entry.latency.map_or(format!("{:35}", ""), |latency| {
        format!(
            "{:>8.1} {:>8.1} {:>8.1} {:>8.1}",
            latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms
        )
    });
    let mut text = format!(
        "  {:<26} {:>2} {:>9.1} {:>9.1} {:>9.1}  {latency}  {}",
        entry.name,
        entry.rounds.len(),
        rate.min,
        rate.median,
        rate.max,
        entry.ratio_to_crun.map_or(String::new(), ratio)
    );
    if let Some(failure) = entry.failures.first() {
        let _ = write!(text, "  {} FAILED: {failure}", entry.failures.len());
    }
    text
}

/// A ratio with its interval.
#[must_use]
pub fn ratio(ratio: Ratio) -> String {
    let Ratio { value, low, high } = ratio;
    format!("{value:.2} ({low:.2} to {high:.2})")
}
