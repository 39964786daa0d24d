//! What was measured, as a picture: the rate of each contender against crun's, and latencies.

use super::report::{Entry, Measured, Throughput};
use crate::picture::{CONTAINER, LAUNCH, Marks, Part, Picture, Row, time};
use crate::report::Report;

/// Both parts.
pub(crate) fn draw(report: &Report<Throughput>) -> Picture {
    let Throughput { workloads, rounds, .. } = &report.figures;
    let note = format!(
        "Logarithmic; further right is better; {rounds} rounds; a dot is one round, the bar the median."
    );
    let rows = workloads.iter().flat_map(rates_of).collect();
    let label = |ratio: f64| format!("× {ratio}");
    let rates = Part::of_rows("Rate against crun's", note, true, label, rows);
    let note = "p50, p90, p99, p99.9, logarithmic; further left is better. On the right: p50.";
    let rows = workloads.iter().flat_map(latencies_of).collect();
    let latencies = Part::of_rows("Latency", note.into(), true, time, rows);
    Picture::new(report.emulated.is_some(), [rates, latencies])
}

fn rates_of(measured: &Measured) -> Vec<Row> {
    // Against the last that ran, where crun did not.
    let median = |entry: &Entry| entry.rate.map(|rate| rate.median);
    let Some(base) = measured.contenders.iter().rev().find_map(median) else { return Vec::new() };
    let title = format!("{}, {} a second", measured.title, measured.unit).replace('`', "");
    let row = |entry: &Entry| {
        let Some(rate) = median(entry) else {
            return row_of(entry, Marks::Nothing, "failed".into());
        };
        let digits = usize::from(rate < 100.0);
        let ratio = entry.ratio_to_crun.map(|ratio| format!(" × {:.2}", ratio.value));
        let all = entry.rounds.iter().map(|round| round.rate / base).collect();
        let marks = Marks::Samples { all, median: rate / base };
        row_of(entry, marks, format!("{rate:.digits$}{}", ratio.unwrap_or_default()))
    };
    let rows = measured.contenders.iter().map(row);
    [Row::heading(title)].into_iter().chain(rows).collect()
}

fn latencies_of(measured: &Measured) -> Vec<Row> {
    let row = |entry: &Entry| {
        let all = entry.latency?;
        let quantiles = vec![all.p50_ms, all.p90_ms, all.p99_ms, all.p999_ms];
        Some(row_of(entry, Marks::Quantiles(quantiles), time(all.p50_ms)))
    };
    let mut rows: Vec<Row> = measured.contenders.iter().filter_map(row).collect();
    if !rows.is_empty() {
        rows.insert(0, Row::heading(measured.title.clone()));
    }
    rows
}

fn row_of(entry: &Entry, marks: Marks, text: String) -> Row {
    let color = if entry.name == "crun" { CONTAINER } else { LAUNCH };
    Row { name: entry.name.clone(), color, marks, text }
}
