//! What was measured, as a picture: every start of every contender, and where a launch's time goes.

use super::report::{Entry, Startup};
use super::segments::segments;
use crate::picture::{CONTAINER, LAUNCH, Marks, OTHER, Part, Picture, Row, time};
use crate::report::Report;

/// Both parts; the first is logarithmic, as plain `xl` takes tens of times as long as a container.
pub(crate) fn draw(report: &Report<Startup>) -> Picture {
    let Startup { contenders, question, rounds, .. } = &report.figures;
    let answer = if question == "http" { "HTTP 200" } else { "answer to PING" };
    let title = format!("From the command to the first {answer}");
    let note = format!(
        "Logarithmic; {rounds} rounds; a dot is one start, the bar the median, × its ratio to crun's."
    );
    let rows = contenders.iter().filter_map(starts_of).collect();
    let starts = Part::of_rows(&title, note, true, time, rows);
    let title = "Where a launch's time goes";
    let note = "The start in the middle of those that told their phases.".into();
    let rows = contenders.iter().filter_map(phases_of).collect();
    let phases = Part::of_rows(title, note, false, time, rows);
    Picture::new(report.emulated.is_some(), [starts, phases])
}

fn starts_of(entry: &Entry) -> Option<Row> {
    let median = entry.first_200_ms?.median;
    let ratio = entry.ratio_to_crun.map(|ratio| format!(" × {:.2}", ratio.value));
    Some(Row {
        name: entry.name.clone(),
        color: match entry.name.as_str() {
            "xl-stock" => OTHER,
            name if name.starts_with("launch") => LAUNCH,
            _ => CONTAINER,
        },
        marks: Marks::Samples { all: entry.samples_first_200_ms.clone(), median },
        text: time(median) + &ratio.unwrap_or_default(),
    })
}

fn phases_of(entry: &Entry) -> Option<Row> {
    let segments = segments(entry);
    let whole = segments.iter().map(|segment| segment.ms).reduce(|one, other| one + other)?;
    let marks = Marks::stack(segments.into_iter().map(|segment| (segment.name, segment.ms)));
    Some(Row { name: entry.name.clone(), color: LAUNCH, marks, text: time(whole) })
}
