//! What was measured, as a picture: launch time against the number running, and where memory goes.

use super::memory::Memory;
use super::report::{Density, Filled};
use crate::axis::{Axis, time};
use crate::report::Report;
use crate::svg::{Anchor, CONTAINER, INK, LAUNCH, PALE, Svg};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 830.0;
const HEIGHT: f64 = 260.0;
/// The parts of memory: name, colour, and how much of it.
type Part = (&'static str, &'static str, fn(&Memory) -> f64);
const PARTS: [Part; 4] = [
    ("guest", "#4e79a7", |memory| memory.guest_mib),
    ("Xen", "#f28e2b", |memory| memory.xen_mib),
    ("monitor", "#59a14f", |memory| memory.monitors_mib),
    ("rest of dom0", "#b07aa1", |memory| memory.dom0_mib),
];

/// Draws all parts.
pub(crate) fn draw(report: &Report<Density>) -> String {
    let sides: Vec<&Filled> =
        report.figures.sides.iter().filter(|side| !side.starts.is_empty()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a number of domains")]
    let most = sides.iter().map(|side| side.starts.len()).max().unwrap_or(1) as f64;
    let bars = 96.0 + HEIGHT + 110.0;
    #[expect(clippy::cast_precision_loss, reason = "a few sides")]
    let bars_height = sides.len() as f64 * 40.0;
    let totals = bars + bars_height + 110.0;
    let mut svg = Svg::new(WIDTH, totals + HEIGHT + 60.0);

    title(&mut svg, 34.0, "From the command to the first HTTP 200, against the number running");
    let kind = match report.emulated {
        Some(_) => "EMULATED processor: no time is a real machine's. ",
        None => "",
    };
    let subtitle = format!("{kind}Each dot is one start, the line the median of nine.");
    svg.text((20.0, 56.0), 13.0, Anchor::Start, INK, &subtitle);
    draw_starts(&mut svg, 96.0, &sides, most);
    title(&mut svg, bars - 36.0, "Memory of one, when most ran (MiB)");
    draw_bars(&mut svg, bars, &sides);
    title(&mut svg, totals - 26.0, "Memory of all together, against the number running (GiB)");
    draw_totals(&mut svg, totals, &sides, most);
    svg.render()
}

fn title(svg: &mut Svg, y: f64, text: &str) {
    svg.text((20.0, y), 20.0, Anchor::Start, INK, text);
}

fn color_of(side: &Filled) -> &'static str {
    if side.is_launch() { LAUNCH } else { CONTAINER }
}

/// The grid of a chart over the number running.
fn grid(svg: &mut Svg, top: f64, across: Axis, up: Axis, label: fn(f64) -> String) {
    for tick in up.ticks() {
        let y = up.place(tick);
        svg.line((LEFT, y), (RIGHT, y), 1.0, PALE);
        svg.text((LEFT - 8.0, y + 4.0), 12.0, Anchor::End, INK, &label(tick));
    }
    for tick in across.ticks() {
        let x = across.place(tick);
        svg.line((x, top), (x, top + HEIGHT), 1.0, PALE);
        svg.text((x, top + HEIGHT + 18.0), 12.0, Anchor::Middle, INK, &format!("{tick:.0}"));
    }
    svg.text((RIGHT, top + HEIGHT + 34.0), 12.0, Anchor::End, INK, "running");
}

fn draw_starts(svg: &mut Svg, top: f64, sides: &[&Filled], most_running: f64) {
    let times = || sides.iter().flat_map(|side| &side.starts).map(|start| start.first_200_ms);
    let across = Axis::from_zero(most_running, (LEFT, RIGHT));
    let up = Axis::from_zero(times().fold(1.0, f64::max) * 1.05, (top + HEIGHT, top));
    grid(svg, top, across, up, time);
    for side in sides {
        let color = color_of(side);
        let place = |index: usize| across.place(f64::from(side.starts[index].running));
        for (index, start) in side.starts.iter().enumerate() {
            svg.dot(place(index), up.place(start.first_200_ms), 3.0, color);
        }
        let mut last = None;
        for (index, window) in side.starts.windows(9).enumerate() {
            let mut window: Vec<f64> = window.iter().map(|start| start.first_200_ms).collect();
            window.sort_by(f64::total_cmp);
            let point = (place(index + 4), up.place(window[4]));
            if let Some(last) = last.replace(point) {
                svg.line(last, point, 2.0, color);
            }
        }
        let at = last.unwrap_or((RIGHT, top + HEIGHT));
        svg.text((RIGHT + 15.0, at.1 + 5.0), 14.0, Anchor::Start, color, &side.name);
        if let Some(times) = side.last {
            let text = format!("at last {}", time(times.median));
            svg.text((RIGHT + 15.0, at.1 + 21.0), 12.0, Anchor::Start, INK, &text);
        }
    }
}

fn draw_bars(svg: &mut Svg, top: f64, sides: &[&Filled]) {
    let ones: Vec<(&Filled, Memory)> =
        sides.iter().filter_map(|side| Some((*side, side.memory_of_one()?))).collect();
    let most = ones.iter().map(|(_, one)| one.total_mib).fold(1.0, f64::max);
    let across = Axis::from_zero(most, (LEFT, RIGHT));
    let mut y = top;
    for (side, one) in &ones {
        svg.text((LEFT - 8.0, y + 20.0), 13.0, Anchor::End, INK, &side.name);
        let mut at = 0.0;
        for (_, color, part) in PARTS {
            // A part that fell a little is drawn as nothing.
            let mib = part(one).max(0.0);
            let (from, to) = (across.place(at), across.place(at + mib));
            svg.rectangle(from, y, to - from, 28.0, color);
            if to - from > 36.0 {
                let middle = (f64::midpoint(from, to), y + 19.0);
                svg.text(middle, 12.0, Anchor::Middle, "#ffffff", &format!("{mib:.1}"));
            }
            at += mib;
        }
        let text = format!("{:.1} MiB", one.total_mib);
        svg.text((across.place(at) + 10.0, y + 20.0), 14.0, Anchor::Start, INK, &text);
        y += 40.0;
    }
    let mut x = LEFT;
    for (name, color, _) in PARTS {
        svg.rectangle(x, y + 2.0, 12.0, 12.0, color);
        svg.text((x + 18.0, y + 13.0), 13.0, Anchor::Start, INK, name);
        x += 140.0;
    }
}

fn draw_totals(svg: &mut Svg, top: f64, sides: &[&Filled], most_running: f64) {
    let gib = |memory: &Memory| memory.total_mib / 1024.0;
    let most = sides.iter().flat_map(|side| &side.memory).map(gib).fold(0.1, f64::max);
    let across = Axis::from_zero(most_running, (LEFT, RIGHT));
    let up = Axis::from_zero(most * 1.05, (top + HEIGHT, top));
    grid(svg, top, across, up, |gib| format!("{gib}"));
    for side in sides {
        let color = color_of(side);
        let mut last = (across.place(0.0), up.place(0.0));
        for memory in &side.memory {
            let point = (across.place(f64::from(memory.running)), up.place(gib(memory).max(0.0)));
            svg.line(last, point, 2.0, color);
            svg.dot(point.0, point.1, 3.0, color);
            last = point;
        }
        svg.text((RIGHT + 15.0, last.1 + 5.0), 14.0, Anchor::Start, color, &side.name);
    }
}
