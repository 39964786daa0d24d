//! Axes of pictures: convert values to pixels, and choose the marked values.

use serde::{Deserialize, Serialize};

/// The ends of the axes in `pages/picture.svg`: across, and upwards.
const ACROSS: (f64, f64) = (170.0, 830.0);
const UPWARDS: (f64, f64) = (324.0, 74.0);

/// An axis that starts at zero or is logarithmic.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Axis {
    is_logarithmic: bool,
    least: f64,
    most: f64,
    /// Round values: about six, or 1, 2 and 5 of each power of ten. Empty if there are no values.
    ticks: Vec<f64>,
}

impl Axis {
    /// An axis that holds all values, with some room at its ends.
    pub(crate) fn of(values: &[f64], is_logarithmic: bool) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min).max(0.01);
        let most = values.iter().copied().fold(0.0, f64::max);
        let (least, most, ticks): (_, _, Vec<f64>) = if is_logarithmic {
            let powers = (-2..7).map(|power| 10f64.powi(power));
            let ticks = powers.flat_map(|power| [power, 2.0 * power, 5.0 * power]);
            (least / 1.3, most * 1.3, ticks.collect())
        } else {
            let step = round_step(most / 6.0);
            (0.0, most * 1.03, (0..9).map(|count| f64::from(count) * step).collect())
        };
        let ticks = ticks.into_iter().filter(|tick| (least..most).contains(tick)).collect();
        Self { is_logarithmic, least, most, ticks }
    }

    /// The place of a value in pixels: across …
    pub(crate) fn x(&self, value: f64) -> f64 {
        self.place(value, ACROSS)
    }

    /// … and upwards, measured from the upper edge.
    pub(crate) fn y(&self, value: f64) -> f64 {
        self.place(value, UPWARDS)
    }

    fn place(&self, value: f64, (from, to): (f64, f64)) -> f64 {
        let part = match self.is_logarithmic {
            true => (value / self.least).ln() / (self.most / self.least).ln(),
            false => value / self.most,
        };
        ((from + part * (to - from)) * 10.0).round() / 10.0
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|part| part * power);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_on_the_axis() {
        let logarithmic = Axis::of(&[400.0, 30_000.0], true);
        assert_eq!(logarithmic.ticks, [500.0, 1e3, 2e3, 5e3, 1e4, 2e4]);
        assert_eq!(Axis::of(&[10.0, 430.0], false).ticks, [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert!(Axis::of(&[], true).ticks.is_empty() && Axis::of(&[], false).ticks.is_empty());
    }

    #[test]
    fn equal_ratios_are_equally_far_on_a_logarithmic_axis() {
        let axis = Axis::of(&[10.0, 1000.0], true);
        assert!((axis.x(1000.0) - 2.0 * axis.x(100.0) + axis.x(10.0)).abs() < 0.2);
        assert!(ACROSS.0 < axis.x(10.0) && axis.x(1000.0) < ACROSS.1);
    }
}
