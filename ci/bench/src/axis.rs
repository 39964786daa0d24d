//! Axes of pictures: from values to places in pixels, and the values that are marked.

/// An axis; its two ends in pixels may lie either way round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
    is_logarithmic: bool,
}

impl Axis {
    /// From zero to a bit more than `most`.
    pub(crate) fn from_zero(most: f64, (from, to): (f64, f64)) -> Self {
        Self { least: 0.0, most: most.max(1e-9), from, to, is_logarithmic: false }
    }

    /// A logarithmic one, with some room at both ends.
    pub(crate) fn logarithmic(least: f64, most: f64, (from, to): (f64, f64)) -> Self {
        Self { least: least.max(0.01) / 1.3, most: most * 1.3, from, to, is_logarithmic: true }
    }

    /// Where a value is.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let part = match self.is_logarithmic {
            true => (value / self.least).ln() / (self.most / self.least).ln(),
            false => value / self.most,
        };
        self.from + part * (self.to - self.from)
    }

    /// Round values on the axis: about six from zero on, or 1, 2 and 5 of each power of ten.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic {
            let powers = (-2..7).map(|power| 10f64.powi(power));
            let all = powers.flat_map(|power| [power, 2.0 * power, 5.0 * power]);
            return all.filter(|tick| (self.least..=self.most).contains(tick)).collect();
        }
        let step = round_step(self.most / 6.0);
        (0..).map(|count| f64::from(count) * step).take_while(|tick| *tick <= self.most).collect()
    }
}

/// The next larger of 1, 2 or 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|part| part * power)
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(least)
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
    fn ticks_are_round_and_on_the_axis() {
        let logarithmic = Axis::logarithmic(400.0, 30_000.0, (0.0, 1.0));
        assert_eq!(logarithmic.ticks(), [500.0, 1e3, 2e3, 5e3, 1e4, 2e4]);
        assert_eq!(Axis::from_zero(430.0, (0.0, 1.0)).ticks(), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(round_step(430.0), 500.0);
        assert_eq!([time(1500.0), time(20_000.0), time(380.4)], ["1.5 s", "20 s", "380 ms"]);
    }

    #[test]
    fn an_axis_may_run_upwards() {
        let axis = Axis::from_zero(10.0, (200.0, 100.0));
        assert_eq!([axis.place(0.0), axis.place(5.0), axis.place(10.0)], [200.0, 150.0, 100.0]);
    }
}
