//! Order statistics of a few samples, and ratios of medians with an interval.

use serde::{Deserialize, Serialize};

/// How often samples are redrawn for an interval.
const DRAWS: usize = 4000;
/// The part of the drawn ratios that an interval excludes at each end: it contains 95 %.
const LEFT_OUT: f64 = 0.025;

/// One measure's values in a row of the table, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    /// Half of the samples are below it.
    pub(crate) median: f64,
    /// Nine tenths of the samples are below it.
    pub(crate) p90: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// Summarizes samples; `None` if there are none.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            median: quantile(&sorted, 0.5),
            p90: quantile(&sorted, 0.9),
            max: *sorted.last()?,
        })
    }
}

/// A ratio of two medians, with the interval that contains 95 % of the redrawn ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// The median of `samples` divided by that of `base`; `None` if one of them is empty.
    ///
    /// The interval comes from a percentile bootstrap: both sides are redrawn from themselves, with the same seed each
    /// time, so the same samples give the same interval.
    pub(crate) fn of_medians(samples: &[f64], base: &[f64]) -> Option<Self> {
        let value = Summary::of(samples)?.median / Summary::of(base)?.median;
        let mut random = fastrand::Rng::with_seed(1);
        let mut drawn: Vec<f64> = (0..DRAWS)
            .map(|_| median_of_draw(samples, &mut random) / median_of_draw(base, &mut random))
            .collect();
        drawn.sort_by(f64::total_cmp);
        Some(Self {
            value,
            low: quantile(&drawn, LEFT_OUT),
            high: quantile(&drawn, 1.0 - LEFT_OUT),
        })
    }
}

fn median_of_draw(samples: &[f64], random: &mut fastrand::Rng) -> f64 {
    let mut drawn: Vec<f64> =
        samples.iter().map(|_| samples[random.usize(..samples.len())]).collect();
    drawn.sort_by(f64::total_cmp);
    quantile(&drawn, 0.5)
}

/// The value below which this part of the samples lies, interpolated between two of them.
#[expect(clippy::cast_precision_loss, reason = "a few samples")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the length")]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_sorts_and_goes_between_two_samples() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((summary.min, summary.median, summary.max), (1.0, 2.5, 4.0));
        assert!((summary.p90 - 3.7).abs() < 1e-9);
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[7.0]).unwrap().p90, 7.0);
    }

    #[test]
    fn a_ratio_lies_in_its_interval_which_grows_with_the_scatter_and_is_always_the_same() {
        let base = [10.0; 10];
        let ratio = |step: f64| {
            let samples: Vec<f64> = (0..10).map(|n| 20.0 + f64::from(n) * step).collect();
            let ratio = Ratio::of_medians(&samples, &base).unwrap();
            assert!(ratio.low <= ratio.value && ratio.value <= ratio.high, "{ratio:?}");
            assert_eq!(Ratio::of_medians(&samples, &base), Some(ratio));
            ratio
        };
        let (calm, wild) = (ratio(0.1), ratio(4.0));
        assert!(wild.high - wild.low > 10.0 * (calm.high - calm.low));
        assert_eq!(Ratio::of_medians(&[], &base), None);
    }
}
