//! Pictures of what was measured: parts below each other. `pages/picture.svg` draws them.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// `launch`.
pub(crate) const LAUNCH: &str = "#1f5fa8";
/// Containers.
pub(crate) const CONTAINER: &str = "#d9701a";
/// Anything else.
pub(crate) const OTHER: &str = "#7a7a7a";
/// Pieces of stacks in the order they come, again from the start when there are more: each dark colour
/// with its light one.
const PALETTE: [&str; 16] = [
    "#4e79a7", "#a0cbe8", "#f28e2b", "#ffbe7d", "#59a14f", "#8cd17d", "#b6992d", "#f1ce63",
    "#499894", "#86bcb6", "#e15759", "#ff9d9a", "#79706e", "#bab0ac", "#b07aa1", "#d7b5a6",
];
/// What is written on either.
const INKS: [&str; 2] = ["#ffffff", "#222222"];
/// Where axes begin and end, in pixels: across, and upwards.
const ACROSS: (f64, f64) = (170.0, 830.0);
const UPWARDS: (f64, f64) = (324.0, 74.0);

/// A picture.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    is_emulated: bool,
    parts: Vec<Part>,
}

impl Picture {
    /// One of all parts that show something.
    pub(crate) fn new(is_emulated: bool, parts: impl IntoIterator<Item = Part>) -> Self {
        let parts = parts.into_iter().filter(|part| !part.axis.ticks.is_empty()).collect();
        Self { is_emulated, parts }
    }
}

/// A part of a picture, with a title and a note below it: rows, or curves over the number of apps that
/// run. The axis of rows is theirs across, that of curves upwards.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    title: String,
    note: String,
    axis: Axis,
    rows: Vec<Row>,
    running: Axis,
    curves: Vec<Curve>,
    /// Colours of the stacks' pieces, and of what is written on them.
    legend: IndexMap<String, (&'static str, &'static str)>,
    /// In pixels.
    height: usize,
}

/// A row, with its name on the left and a text on the right.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) color: &'static str,
    pub(crate) marks: Marks,
    pub(crate) text: String,
}

/// What stands in a row.
#[derive(Debug, Serialize)]
pub(crate) enum Marks {
    /// Nothing: the name is a heading for rows to come.
    Heading,
    Nothing,
    /// A dot for each, and a bar at the median.
    Samples {
        all: Vec<f64>,
        median: f64,
    },
    /// Dots that become smaller, with a line through them.
    Quantiles(Vec<f64>),
    /// Pieces after each other.
    Stack(Vec<Piece>),
}

/// A piece of a stack.
#[derive(Debug, Serialize)]
pub(crate) struct Piece {
    name: String,
    from: f64,
    length: f64,
}

/// A curve, with its name and a text at its end.
#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) color: &'static str,
    pub(crate) dots: Vec<(f64, f64)>,
    pub(crate) line: Vec<(f64, f64)>,
    pub(crate) text: String,
}

/// An axis, from zero or logarithmic, and what is written at its marked values.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Axis {
    is_logarithmic: bool,
    least: f64,
    most: f64,
    ticks: Vec<(f64, String)>,
}

impl Part {
    /// Rows along an axis that holds all of them; `label` writes its values.
    pub(crate) fn of_rows(
        title: &str,
        note: String,
        is_logarithmic: bool,
        label: fn(f64) -> String,
        rows: Vec<Row>,
    ) -> Self {
        let values: Vec<f64> = rows.iter().flat_map(|row| row.marks.values()).collect();
        let mut legend = IndexMap::new();
        for piece in rows.iter().flat_map(|row| row.marks.pieces()) {
            let index = legend.len() % PALETTE.len();
            legend.entry(piece.name.clone()).or_insert((PALETTE[index], INKS[index % 2]));
        }
        Self {
            title: title.into(),
            note,
            axis: Axis::of(is_logarithmic, &values, label),
            height: 130 + 27 * rows.len() + 20 * legend.len().div_ceil(3),
            rows,
            running: Axis::default(),
            curves: Vec::new(),
            legend,
        }
    }

    /// Curves over the number of apps that run.
    pub(crate) fn of_curves(
        title: &str,
        note: String,
        label: fn(f64) -> String,
        curves: Vec<Curve>,
    ) -> Self {
        let dots = || curves.iter().flat_map(|curve| &curve.dots);
        let running: Vec<f64> = dots().map(|dot| dot.0).collect();
        let values: Vec<f64> = dots().map(|dot| dot.1).collect();
        Self {
            title: title.into(),
            note,
            axis: Axis::of(false, &values, label),
            rows: Vec::new(),
            running: Axis::of(false, &running, |count| count.to_string()),
            curves,
            legend: IndexMap::new(),
            height: 370,
        }
    }
}

impl Row {
    /// A heading.
    pub(crate) fn heading(name: String) -> Self {
        Self { name, color: OTHER, marks: Marks::Heading, text: String::new() }
    }
}

impl Marks {
    /// A stack of named lengths.
    pub(crate) fn stack(lengths: impl IntoIterator<Item = (String, f64)>) -> Self {
        let mut end = 0.0;
        let piece = |(name, length)| {
            let from = end;
            end += length;
            Piece { name, from, length }
        };
        Self::Stack(lengths.into_iter().map(piece).collect())
    }

    fn values(&self) -> Vec<f64> {
        match self {
            Self::Heading | Self::Nothing => Vec::new(),
            Self::Samples { all, .. } | Self::Quantiles(all) => all.clone(),
            Self::Stack(pieces) => pieces.iter().map(|piece| piece.from + piece.length).collect(),
        }
    }

    fn pieces(&self) -> &[Piece] {
        if let Self::Stack(pieces) = self { pieces } else { &[] }
    }
}

impl Axis {
    /// One that holds all values, with some room at its ends. No values, no ticks.
    fn of(is_logarithmic: bool, values: &[f64], label: fn(f64) -> String) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min).max(0.01) / 1.3;
        let most = values.iter().copied().fold(0.0, f64::max);
        let marked: Vec<f64> = if is_logarithmic {
            let powers = (-2..7).map(|power| 10f64.powi(power));
            powers.flat_map(|power| [power, 2.0 * power, 5.0 * power]).collect()
        } else {
            let step = round_step(most / 6.0);
            (0..9).map(|count| f64::from(count) * step).collect()
        };
        let (least, most) = if is_logarithmic { (least, most * 1.3) } else { (0.0, most * 1.03) };
        let marked = marked.into_iter().filter(|value| (least..most).contains(value));
        let ticks = marked.map(|value| (value, label(value))).collect();
        Self { is_logarithmic, least, most, ticks }
    }

    /// Where a value is across, in pixels.
    pub(crate) fn x(&self, value: f64) -> f64 {
        self.place(value, ACROSS)
    }

    /// Where a value is upwards, in pixels from the upper edge.
    pub(crate) fn y(&self, value: f64) -> f64 {
        self.place(value, UPWARDS)
    }

    fn place(&self, value: f64, (from, to): (f64, f64)) -> f64 {
        let part = match self.is_logarithmic {
            true => (value / self.least).ln() / (self.most / self.least).ln(),
            false => value / self.most,
        };
        from + part * (to - from)
    }
}

/// The next larger of 1, 2 or 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|part| part * power);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// A time in milliseconds as a picture says it.
pub(crate) fn time(ms: f64) -> String {
    match ms {
        0.0 => "0".into(),
        _ if ms >= 10_000.0 => format!("{:.0} s", ms / 1e3),
        _ if ms >= 1000.0 => format!("{} s", (ms / 10.0).round() / 100.0),
        _ if ms >= 10.0 => format!("{ms:.0} ms"),
        _ => format!("{ms:.1} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_values_are_marked_on_either_axis() {
        let marked = |is_logarithmic, least, most| -> Vec<f64> {
            let axis = Axis::of(is_logarithmic, &[least, most], time);
            axis.ticks.iter().map(|tick| tick.0).collect()
        };
        assert_eq!(marked(true, 400.0, 30_000.0), [500.0, 1e3, 2e3, 5e3, 1e4, 2e4]);
        assert_eq!(marked(false, 10.0, 430.0), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!([time(1500.0), time(20_000.0), time(380.4)], ["1.5 s", "20 s", "380 ms"]);
    }

    #[test]
    fn equal_ratios_are_equally_far_on_a_logarithmic_axis() {
        let axis = Axis::of(true, &[10.0, 1000.0], time);
        let step = axis.x(100.0) - axis.x(10.0);
        assert!((axis.x(1000.0) - axis.x(100.0) - step).abs() < 1e-9);
        assert!(ACROSS.0 < axis.x(10.0) && axis.x(1000.0) < ACROSS.1);
    }
}
