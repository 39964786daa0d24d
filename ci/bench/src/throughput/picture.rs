//! What was measured, as a picture: the rate of each side against crun's, and latencies.

use super::report::{Entry, Measured, Throughput};
use crate::axis::{Axis, time};
use crate::report::Report;
use crate::svg::{Anchor, CONTAINER, INK, LAUNCH, PALE, Svg};

const WIDTH: f64 = 1000.0;
/// Where the rows' names end and the rates' axis begins.
const LEFT: f64 = 120.0;
/// Where the rates' axis ends; their figures follow.
const MIDDLE: f64 = 430.0;
/// Where the latencies' axis begins, and where it ends.
const LATENCIES: (f64, f64) = (580.0, 970.0);
const ROW: f64 = 24.0;
/// Room above each workload's rows.
const HEAD: f64 = 34.0;

/// Draws all workloads.
pub(crate) fn draw(report: &Report<Throughput>) -> String {
    let all: Vec<&Measured> = report.figures.workloads.iter().collect();
    let top = 106.0;
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let height = |measured: &Measured| HEAD + measured.contenders.len() as f64 * ROW;
    let end = top + all.iter().map(|measured| height(measured)).sum::<f64>();
    let mut svg = Svg::new(WIDTH, end + 30.0);
    svg.text((20.0, 34.0), 20.0, Anchor::Start, INK, "Throughput and latency");
    let kind = match report.emulated {
        Some(_) => "EMULATED processor: no figure is a real machine's. ",
        None => "",
    };
    let text = format!(
        "{kind}{} rounds; each dot is one round, the bar the median.",
        report.figures.rounds
    );
    svg.text((20.0, 56.0), 13.0, Anchor::Start, INK, &text);
    svg.text((LEFT, 84.0), 13.0, Anchor::Start, INK, "rate: longer is better");
    let text = "latency: p50, p90, p99, p99.9; further left is better";
    svg.text((LATENCIES.0, 84.0), 13.0, Anchor::Start, INK, text);
    let latencies = latency_axis(&all);
    if let Some(axis) = latencies {
        for tick in axis.ticks() {
            let x = axis.place(tick);
            svg.line((x, top), (x, end), 1.0, PALE);
            svg.text((x, top - 4.0), 11.0, Anchor::Middle, INK, &time(tick));
        }
    }
    let mut y = top;
    for measured in all {
        draw_one(&mut svg, y, measured, latencies);
        y += height(measured);
    }
    svg.render()
}

fn latency_axis(all: &[&Measured]) -> Option<Axis> {
    let entries = || all.iter().flat_map(|measured| &measured.contenders);
    let least = entries().filter_map(|entry| Some(entry.latency?.p50_ms)).reduce(f64::min)?;
    let most = entries().filter_map(|entry| Some(entry.latency?.p999_ms)).reduce(f64::max)?;
    Some(Axis::logarithmic(least, most, LATENCIES))
}

fn draw_one(svg: &mut Svg, top: f64, measured: &Measured, latencies: Option<Axis>) {
    let title = format!("{}, {} a second", measured.title, measured.unit);
    svg.text((20.0, top + 24.0), 14.0, Anchor::Start, INK, &title);
    let rates = measured.contenders.iter().flat_map(|entry| &entry.rounds).map(|round| round.rate);
    let axis = Axis::from_zero(rates.fold(0.0, f64::max), (LEFT, MIDDLE));
    let mut y = top + HEAD + ROW / 2.0;
    for entry in &measured.contenders {
        draw_row(svg, y, entry, axis, latencies);
        y += ROW;
    }
}

fn draw_row(svg: &mut Svg, y: f64, entry: &Entry, axis: Axis, latencies: Option<Axis>) {
    let color = if entry.name == "crun" { CONTAINER } else { LAUNCH };
    svg.text((LEFT - 8.0, y + 5.0), 13.0, Anchor::End, INK, &entry.name);
    let Some(rate) = entry.rate else {
        svg.text((LEFT + 6.0, y + 5.0), 13.0, Anchor::Start, INK, "failed");
        return;
    };
    svg.rectangle(LEFT, y - 8.0, axis.place(rate.median) - LEFT, 16.0, color);
    for round in &entry.rounds {
        svg.dot(axis.place(round.rate), y, 3.0, INK);
    }
    let digits = usize::from(rate.median < 100.0);
    let ratio =
        entry.ratio_to_crun.map_or(String::new(), |ratio| format!("  × {:.2}", ratio.value));
    let text = format!("{:.digits$}{ratio}", rate.median);
    svg.text((MIDDLE + 12.0, y + 5.0), 13.0, Anchor::Start, INK, &text);
    if let (Some(axis), Some(latency)) = (latencies, entry.latency) {
        let points = [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms];
        let places = points.map(|ms| axis.place(ms));
        svg.line((places[0], y), (places[3], y), 2.0, color);
        for (dom0, radius) in places.into_iter().zip([6.0, 4.5, 3.5, 2.5]) {
            svg.dot(dom0, y, radius, color);
        }
    }
}
