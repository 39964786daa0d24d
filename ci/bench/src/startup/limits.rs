//! Limits on ratios: a guard against a launch that has become slower without anyone noticing.

use super::report::Startup;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// A file of limits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    limit: Vec<Limit>,
}

/// One limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// Name out of [`Startup::ratios`].
    ratio: String,
    /// What it may be.
    at_most: f64,
    /// Why so much and no more.
    reason: String,
}

/// Compares ratios with the limits in `file`; returns a line for each that is broken.
///
/// A limit is broken when the whole 95 % interval lies above it, so that chance alone rarely breaks
/// one, or when its ratio was not measured.
pub(crate) fn broken(report: &Startup, file: &Path) -> Result<Vec<String>> {
    let explain = || format!("cannot read {}", file.display());
    let text = std::fs::read_to_string(file).with_context(explain)?;
    check(report, &text).with_context(explain)
}

fn check(report: &Startup, text: &str) -> Result<Vec<String>> {
    let limits: Limits = toml::from_str(text)?;
    let line = |limit: &Limit| {
        let Limit { ratio, at_most, reason } = limit;
        match (report.ratios.get(ratio), report.intervals.get(ratio)) {
            (Some(Some(value)), Some(Some([low, high]))) => (low > at_most).then(|| {
                format!(
                    "{ratio} is {value:.3} ({low:.3} to {high:.3}), more than {at_most}: {reason}"
                )
            }),
            _ => Some(format!("{ratio} was not measured")),
        }
    };
    Ok(limits.limit.iter().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: f64, low: f64) -> Startup {
        let json = serde_json::json!({
            "image": "", "question": "http", "rounds": 1, "contenders": [], "xl_create": null, "kernels": [],
            "missing": {}, "ratios": {"cold_vs_crun": value, "pooled_vs_crun": null},
            "intervals": {"cold_vs_crun": [low, value + 1.0], "pooled_vs_crun": null},
        });
        serde_json::from_value(json).unwrap()
    }

    const LIMITS: &str =
        "[[limit]]\nratio = \"cold_vs_crun\"\nat_most = 2.0\nreason = \"target\"\n";

    #[test]
    fn a_ratio_breaks_its_limit_only_with_its_whole_interval() {
        assert!(check(&report(1.9, 1.8), LIMITS).unwrap().is_empty());
        assert!(check(&report(2.1, 1.9), LIMITS).unwrap().is_empty());
        let broken = check(&report(2.5, 2.1), LIMITS).unwrap();
        assert_eq!(broken, ["cold_vs_crun is 2.500 (2.100 to 3.500), more than 2: target"]);
    }

    #[test]
    fn a_limit_on_what_was_not_measured_is_broken() {
        let limits = LIMITS.replace("cold", "pooled");
        assert_eq!(check(&report(1.0, 1.0), &limits).unwrap(), ["pooled_vs_crun was not measured"]);
    }

    #[test]
    fn a_limit_without_a_reason_is_refused() {
        let limits = LIMITS.replace("reason = \"target\"", "");
        assert!(check(&report(1.0, 1.0), &limits).is_err());
    }

    #[test]
    fn the_limits_that_come_with_this_can_be_read() {
        let text = include_str!("../../../startup-limits.toml");
        assert!(!toml::from_str::<Limits>(text).unwrap().limit.is_empty());
    }
}
