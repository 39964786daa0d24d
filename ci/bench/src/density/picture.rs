//! What was measured, as a picture: launch time against the number running, and where memory goes.

use super::report::{Density, Filled};
use crate::picture::{CONTAINER, Curve, LAUNCH, Marks, Part, Picture, Row, time};
use crate::report::Report;
use crate::statistics::Summary;

/// A curve shows the median of so many starts.
const WINDOW: usize = 9;

/// All parts.
pub(crate) fn draw(report: &Report<Density>) -> Picture {
    let sides = || report.figures.sides.iter();
    let parts = [
        Part::of_curves(
            "From the command to the first HTTP 200, against the number running",
            format!("A dot is one start, the line the median of {WINDOW}."),
            time,
            sides().map(starts_of).collect(),
        ),
        Part::of_rows(
            "Memory of one",
            "In MiB, when most ran, divided by their number.".into(),
            false,
            |mib| mib.to_string(),
            sides().filter_map(memory_of_one).collect(),
        ),
        Part::of_curves(
            "Memory of all together, against the number running",
            "In GiB.".into(),
            |gib| gib.to_string(),
            sides().map(memory_of_all).collect(),
        ),
    ];
    Picture::new(report.emulated.is_some(), parts)
}

fn color_of(side: &Filled) -> &'static str {
    if side.is_launch() { LAUNCH } else { CONTAINER }
}

fn starts_of(side: &Filled) -> Curve {
    let starts = side.starts.iter();
    let dots: Vec<(f64, f64)> =
        starts.map(|start| (f64::from(start.running), start.first_200_ms)).collect();
    let median = |window: &[(f64, f64)]| {
        let times: Vec<f64> = window.iter().map(|dot| dot.1).collect();
        Some((window[WINDOW / 2].0, Summary::of(&times)?.median))
    };
    Curve {
        name: side.name.clone(),
        color: color_of(side),
        text: side.last.map_or(String::new(), |last| format!("at last {}", time(last.median))),
        line: dots.windows(WINDOW).filter_map(median).collect(),
        dots,
    }
}

fn memory_of_one(side: &Filled) -> Option<Row> {
    let one = side.memory.last()?.of_one();
    let parts = [
        ("guest", one.guest_mib),
        ("Xen", one.xen_mib),
        ("monitor", one.monitors_mib),
        ("rest of dom0", one.dom0_mib),
    ];
    Some(Row {
        name: side.name.clone(),
        color: color_of(side),
        // A part that fell a little is drawn as nothing.
        marks: Marks::stack(parts.map(|(name, mib)| (name.to_owned(), mib.max(0.0)))),
        text: format!("{:.1} MiB", one.total_mib),
    })
}

fn memory_of_all(side: &Filled) -> Curve {
    let measured = side.memory.iter();
    let measured = measured.map(|now| (f64::from(now.running), (now.total_mib / 1024.0).max(0.0)));
    let dots: Vec<(f64, f64)> = [(0.0, 0.0)].into_iter().chain(measured).collect();
    let (name, text) = (side.name.clone(), String::new());
    Curve { name, color: color_of(side), text, line: dots.clone(), dots }
}
