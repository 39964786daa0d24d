//! Limits on ratios, which detect a launch that has become slower.

use super::report::Startup;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    limit: Vec<Limit>,
}

/// One limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// One of [`Startup::ratios`].
    ratio: String,
    at_most: f64,
    /// The reason for the value.
    reason: String,
}

/// Fails if a limit in `file` is exceeded or its ratio was not measured. A limit is exceeded if the whole 95 % interval
/// of the ratio lies above it, so this rarely happens by chance.
pub(crate) fn check(figures: &Startup, file: &Path) -> Result<()> {
    let explain = || format!("cannot read {}", file.display());
    let text = std::fs::read_to_string(file).with_context(explain)?;
    let broken = broken(figures, &toml::from_str(&text).with_context(explain)?);
    ensure!(broken.is_empty(), "above the limits:\n{}", broken.join("\n"));
    Ok(())
}

fn broken(figures: &Startup, limits: &Limits) -> Vec<String> {
    let line = |Limit { ratio, at_most, reason }: &Limit| {
        let measured = figures.ratios.get(ratio).zip(figures.intervals.get(ratio));
        let Some((Some(value), Some([low, high]))) = measured else {
            return Some(format!("{ratio} was not measured"));
        };
        let text = format!("{ratio} is {value:.3} ({low:.3} to {high:.3}), more than {at_most}");
        (low > at_most).then(|| format!("{text}: {reason}"))
    };
    limits.limit.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str =
        "[[limit]]\nratio = \"cold_vs_crun\"\nat_most = 2.0\nreason = \"target\"\n";

    fn broken_by(value: f64, low: f64, limits: &str) -> Vec<String> {
        let figures = serde_json::json!({
            "image": "", "question": "http", "rounds": 1, "contenders": [], "kernels": [],
            "missing": {}, "ratios": {"cold_vs_crun": value, "pooled_vs_crun": null},
            "intervals": {"cold_vs_crun": [low, value + 1.0], "pooled_vs_crun": null},
        });
        let figures = serde_json::from_value(figures).unwrap();
        broken(&figures, &toml::from_str(limits).unwrap())
    }

    #[test]
    fn a_ratio_breaks_its_limit_only_with_its_whole_interval() {
        assert!(broken_by(1.9, 1.8, LIMITS).is_empty());
        assert!(broken_by(2.1, 1.9, LIMITS).is_empty());
        let broken = broken_by(2.5, 2.1, LIMITS);
        assert_eq!(broken, ["cold_vs_crun is 2.500 (2.100 to 3.500), more than 2: target"]);
    }

    #[test]
    fn a_limit_on_what_was_not_measured_is_broken() {
        let limits = LIMITS.replace("cold", "pooled");
        assert_eq!(broken_by(1.0, 1.0, &limits), ["pooled_vs_crun was not measured"]);
    }

    #[test]
    fn a_limit_without_a_reason_is_refused_and_all_of_ours_have_one() {
        let error = toml::from_str::<Limits>(&LIMITS.replace("reason = \"target\"", ""));
        assert!(error.unwrap_err().to_string().contains("missing field `reason`"));
        let ours = include_str!("../../../startup-limits.toml");
        assert!(!toml::from_str::<Limits>(ours).unwrap().limit.is_empty());
    }
}
