//! What was measured, as a picture: every start of every contender, and where a launch's time goes.

use super::report::{Entry, Startup};
use super::segments::{Segment, segments};
use crate::axis::{Axis, time};
use crate::report::Report;
use crate::svg::{Anchor, CONTAINER, INK, LAUNCH, PALE, Svg};

const WIDTH: f64 = 1000.0;
/// Where the rows' names end and the axis begins.
const LEFT: f64 = 170.0;
/// Where the axis ends and the figures begin.
const RIGHT: f64 = 850.0;
const ROW: f64 = 34.0;
const PLAIN_XL: &str = "#7a7a7a";
/// Phases in the order they come, again from the start when there are more.
const PALETTE: [&str; 16] = [
    "#4e79a7", "#a0cbe8", "#f28e2b", "#ffbe7d", "#59a14f", "#8cd17d", "#b6992d", "#f1ce63",
    "#499894", "#86bcb6", "#e15759", "#ff9d9a", "#79706e", "#bab0ac", "#b07aa1", "#9d7660",
];

/// Draws both parts.
pub(crate) fn draw(report: &Report<Startup>) -> String {
    let rows: Vec<&Entry> =
        report.figures.contenders.iter().filter(|entry| entry.first_200_ms.is_some()).collect();
    let stacks: Vec<(&Entry, Vec<Segment>)> = rows
        .iter()
        .map(|entry| (*entry, segments(entry)))
        .filter(|(_, segments)| !segments.is_empty())
        .collect();
    let legend = legend_of(&stacks);
    let top = 96.0;
    let middle = top + height(rows.len()) + 96.0;
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let legend_height = legend.len().div_ceil(3) as f64 * 20.0;
    let bottom = middle + height(stacks.len()) + 50.0 + legend_height;
    let mut svg = Svg::new(WIDTH, if stacks.is_empty() { middle - 40.0 } else { bottom + 20.0 });

    svg.text((20.0, 34.0), 20.0, Anchor::Start, INK, &title_of(report));
    let kind = match report.emulated {
        Some(_) => "EMULATED processor: no time is a real machine's. ",
        None => "",
    };
    let subtitle = format!(
        "{kind}Logarithmic axis; {} rounds; each dot is one start, the bar the median.",
        report.figures.rounds
    );
    svg.text((20.0, 56.0), 13.0, Anchor::Start, INK, &subtitle);
    draw_starts(&mut svg, top, &rows);
    if !stacks.is_empty() {
        let title = "Where a launch's time goes (the start in the middle of those that told)";
        svg.text((20.0, middle - 40.0), 20.0, Anchor::Start, INK, title);
        draw_stacks(&mut svg, middle, &stacks, &legend);
    }
    svg.render()
}

fn title_of(report: &Report<Startup>) -> String {
    let answer = if report.figures.question == "http" { "HTTP 200" } else { "answer to PING" };
    format!("From the command to the first {answer}")
}

fn height(rows: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let rows = rows as f64;
    rows * ROW
}

fn color_of(name: &str) -> &'static str {
    match name {
        "xl-stock" => PLAIN_XL,
        _ if name.starts_with("launch") => LAUNCH,
        _ => CONTAINER,
    }
}

/// One row a contender on a logarithmic axis, as plain `xl` takes tens of times as long as a container.
fn draw_starts(svg: &mut Svg, top: f64, rows: &[&Entry]) {
    let samples = || rows.iter().flat_map(|entry| &entry.samples_first_200_ms);
    let least = samples().copied().fold(f64::INFINITY, f64::min);
    let most = samples().copied().fold(1.0, f64::max);
    let axis = Axis::logarithmic(least, most, (LEFT, RIGHT));
    let end = top + height(rows.len());
    for tick in axis.ticks() {
        let x = axis.place(tick);
        svg.line((x, top - 6.0), (x, end), 1.0, PALE);
        svg.text((x, top - 10.0), 12.0, Anchor::Middle, INK, &time(tick));
    }
    svg.text((RIGHT + 15.0, top - 10.0), 12.0, Anchor::Start, INK, "median");
    svg.text((WIDTH - 20.0, top - 10.0), 12.0, Anchor::End, INK, "to crun");
    let mut y = top + ROW / 2.0;
    for entry in rows {
        let color = color_of(&entry.name);
        svg.text((LEFT - 12.0, y + 5.0), 14.0, Anchor::End, INK, &entry.name);
        for sample in &entry.samples_first_200_ms {
            svg.dot(axis.place(*sample), y, 5.0, color);
        }
        if let Some(first) = entry.first_200_ms {
            let x = axis.place(first.median);
            svg.rectangle(x - 1.5, y - 12.0, 3.0, 24.0, color);
            svg.text((RIGHT + 15.0, y + 5.0), 14.0, Anchor::Start, INK, &time(first.median));
        }
        if let Some(ratio) = entry.ratio_to_crun {
            let text = format!("× {:.2}", ratio.value);
            svg.text((WIDTH - 20.0, y + 5.0), 14.0, Anchor::End, INK, &text);
        }
        y += ROW;
    }
}

fn legend_of(stacks: &[(&Entry, Vec<Segment>)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for segment in stacks.iter().flat_map(|(_, segments)| segments) {
        if !names.contains(&segment.name) {
            names.push(segment.name.clone());
        }
    }
    names
}

fn draw_stacks(svg: &mut Svg, top: f64, stacks: &[(&Entry, Vec<Segment>)], legend: &[String]) {
    let color = |name: &str| {
        let index = legend.iter().position(|known| known == name).unwrap_or(0);
        PALETTE[index % PALETTE.len()]
    };
    let sum = |segments: &[Segment]| segments.iter().map(|segment| segment.ms).sum::<f64>();
    let most = stacks.iter().map(|(_, segments)| sum(segments)).fold(1.0, f64::max);
    let end = top + height(stacks.len());
    let axis = Axis::from_zero(most, (LEFT, RIGHT));
    let place = |ms: f64| axis.place(ms);
    for tick in axis.ticks() {
        svg.line((place(tick), top - 6.0), (place(tick), end), 1.0, PALE);
        svg.text((place(tick), top - 10.0), 12.0, Anchor::Middle, INK, &time(tick));
    }
    let mut y = top;
    for (entry, segments) in stacks {
        svg.text((LEFT - 12.0, y + ROW / 2.0 + 5.0), 14.0, Anchor::End, INK, &entry.name);
        let mut at = 0.0;
        for segment in segments {
            let (from, to) = (place(at), place(at + segment.ms));
            svg.rectangle(from, y + 4.0, to - from, ROW - 8.0, color(&segment.name));
            if to - from > 40.0 {
                let middle = (f64::midpoint(from, to), y + ROW / 2.0 + 5.0);
                svg.text(middle, 12.0, Anchor::Middle, "#ffffff", &format!("{:.0}", segment.ms));
            }
            at += segment.ms;
        }
        svg.text((RIGHT + 15.0, y + ROW / 2.0 + 5.0), 14.0, Anchor::Start, INK, &time(at));
        y += ROW;
    }
    let columns = [LEFT, LEFT + 250.0, LEFT + 500.0];
    let mut y = end + 26.0;
    for row in legend.chunks(columns.len()) {
        for (name, x) in row.iter().zip(columns) {
            svg.rectangle(x, y - 10.0, 12.0, 12.0, color(name));
            svg.text((x + 18.0, y), 13.0, Anchor::Start, INK, name);
        }
        y += 20.0;
    }
}
