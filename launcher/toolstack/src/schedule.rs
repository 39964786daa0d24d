//! A domain's share of the processors, in the units of Xen's scheduler.

use serde::{Deserialize, Serialize};

/// Xen's default weight of a domain.
pub const DEFAULT_WEIGHT: u16 = 256;
/// Docker's default of `--cpu-shares` divided by Xen's default weight.
const SHARES_A_WEIGHT: u64 = 4;

/// A domain's share of the processors. `None` means Xen's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The most processor time that the domain gets, in percent of one processor; 0 means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_percent: Option<u16>,
    /// The domain's weight against others when all together want more than the processors have; Xen's default is 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

impl Schedule {
    /// Whether both values are Xen's defaults.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// These values, replaced by those that `change` has.
    #[must_use]
    pub fn changed(self, change: Self) -> Self {
        Self {
            cap_percent: change.cap_percent.or(self.cap_percent),
            weight: change.weight.or(self.weight),
        }
    }

    /// The cap in Xen's form, where 0 means no limit.
    #[must_use]
    pub fn cap(&self) -> u16 {
        self.cap_percent.unwrap_or_default()
    }

    /// The weight in Xen's form.
    #[must_use]
    pub fn weight(&self) -> u16 {
        self.weight.unwrap_or(DEFAULT_WEIGHT)
    }
}

/// Docker's `--cpus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// In percent of one processor.
    pub percent: u16,
}

/// The error for text that is not a number of processors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid number of CPUs; write e.g. 0.5, 1 or 2.5, at least 0.01 and at most 128"
)]
pub struct CpusError(String);

impl std::str::FromStr for Cpus {
    type Err = CpusError;

    fn from_str(text: &str) -> Result<Self, CpusError> {
        let error = || CpusError(text.chars().take(64).collect());
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let number: f64 = text.parse().ok().filter(|_| plain).ok_or_else(error)?;
        let percent = (number * 100.0).round();
        if !(1.0..=12_800.0).contains(&percent) {
            return Err(error());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        let percent = percent as u16;
        Ok(Self { percent })
    }
}

impl Cpus {
    /// The number of vCPUs that a domain needs to use this much.
    #[must_use]
    pub fn vcpus(self) -> u32 {
        u32::from(self.percent.div_ceil(100))
    }
}

/// Converts Docker's `--cpu-shares` (1,024 by default) to Xen's weight (256 by default).
#[must_use]
pub fn weight_of_shares(shares: u64) -> u16 {
    u16::try_from(shares / SHARES_A_WEIGHT).unwrap_or(u16::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_percent_of_a_processor_and_need_as_many_vcpus() {
        let cpus = |text: &str| text.parse::<Cpus>().map(|cpus| (cpus.percent, cpus.vcpus())).ok();
        assert_eq!(cpus("0.5"), Some((50, 1)));
        assert_eq!(cpus("1"), Some((100, 1)));
        assert_eq!(cpus("1.5"), Some((150, 2)));
        assert_eq!(cpus("128"), Some((12_800, 128)));
        for text in ["", "0", "0.001", "-1", "1e2", "129", "half", "1,5", "inf", "."] {
            assert_eq!(cpus(text), None, "{text:?} was taken");
        }
    }

    #[test]
    fn dockers_usual_shares_are_xens_usual_weight() {
        assert_eq!(weight_of_shares(1024), DEFAULT_WEIGHT);
        assert_eq!((weight_of_shares(2), weight_of_shares(u64::MAX)), (1, u16::MAX));
    }
}
