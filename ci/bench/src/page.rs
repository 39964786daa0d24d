//! Renders pages of the documentation, their pictures, and text for a terminal, from the templates in `pages/`.

use crate::axis::Axis;
use crate::statistics::{Ratio, Summary};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

macro_rules! templates {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("../pages/", $name)))),*] };
}

const TEMPLATES: [(&str, &str); 10] = templates!(
    "density.md" "density.svg" "disk.sh" "emulated.md" "layout.md" "picture.svg" "startup-time.md"
    "startup-time.svg" "throughput.md" "throughput.svg"
);

/// Colours of domains and of containers in pictures.
const LAUNCH: &str = "#1f5fa8";
const CRUN: &str = "#d9701a";

/// Renders a page or a picture.
pub(crate) fn render(template: &str, values: Value) -> anyhow::Result<String> {
    Ok(single_spaced(&environment()?.get_template(template)?.render(values)?))
}

/// Renders the part of a page with the results.
pub(crate) fn render_results(template: &str, values: Value) -> anyhow::Result<String> {
    let all = environment()?;
    let mut page = all.get_template(template)?.render_captured(values)?;
    Ok(single_spaced(&page.with_state_mut(|state| state.render_block("results"))?))
}

/// Renders one paragraph about what an emulated processor distorts.
pub(crate) fn render_emulated(reason: &str, counts_instructions: bool) -> anyhow::Result<String> {
    let text = render("emulated.md", context! { reason, counts_instructions })?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Reduces blank lines to one in a row: templates are laid out for their authors.
fn single_spaced(page: &str) -> String {
    let mut lines: Vec<&str> = page.trim().lines().map(str::trim_end).collect();
    lines.dedup_by(|next, line| next.is_empty() && line.is_empty());
    lines.join("\n") + "\n"
}

fn environment() -> anyhow::Result<Environment<'static>> {
    let mut all = Environment::new();
    all.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    all.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    all.add_filter("fixed", fixed);
    all.add_filter("ratio", ratio);
    all.add_filter("median", |samples: Vec<f64>| Summary::of(&samples).map(|all| all.median));
    all.add_filter("cause", |failure: &str| cause(failure).to_owned());
    all.add_filter("color", |name: &str| if name.starts_with("launch") { LAUNCH } else { CRUN });
    all.add_filter("time", time);
    all.add_filter("number", |value: f64| value.to_string());
    all.add_filter("index", |all: Vec<String>, one: &str| all.iter().position(|name| name == one));
    all.add_filter("axis", |values: Vec<f64>, is_logarithmic: Option<bool>| {
        Value::from(Serde(Axis::of(&values, is_logarithmic.unwrap_or(false))))
    });
    all.add_filter("x", |value: f64, axis: Serde<Axis>| axis.x(value));
    all.add_filter("y", |value: f64, axis: Serde<Axis>| axis.y(value));
    all.set_auto_escape_callback(|name| match name.ends_with(".svg") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    for (name, text) in TEMPLATES {
        all.add_template(name, text)?;
    }
    Ok(all)
}

/// A number with this many digits after the point; empty if there is no number.
fn fixed(value: Option<f64>, digits: Option<usize>) -> String {
    let digits = digits.unwrap_or(0);
    value.map_or(String::new(), |value| format!("{value:.digits$}"))
}

/// A ratio with its interval; empty if there is none.
fn ratio(ratio: Option<Serde<Ratio>>) -> String {
    ratio.map_or(String::new(), |ratio| {
        format!("{:.2} ({:.2} to {:.2})", ratio.value, ratio.low, ratio.high)
    })
}

/// A time in milliseconds, in the form for pictures.
fn time(ms: f64) -> String {
    match ms {
        0.0 => "0".into(),
        _ if ms >= 10_000.0 => format!("{:.0} s", ms / 1e3),
        _ if ms >= 1000.0 => format!("{} s", (ms / 10.0).round() / 100.0),
        _ if ms >= 10.0 => format!("{ms:.0} ms"),
        _ => format!("{ms:.1} ms"),
    }
}

/// The last line of a failure, without its round.
fn cause(failure: &str) -> &str {
    let line = failure.lines().last().unwrap_or_default();
    match line.split_once(": ") {
        Some((round, rest)) if round.starts_with("round ") => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_last_line_without_the_round() {
        assert_eq!(cause("round 6: sh failed\nlaunch: it is gone"), "launch: it is gone");
        assert_eq!(cause("round 5: no answer: none"), "no answer: none");
    }

    #[test]
    fn what_was_not_measured_leaves_its_cell_empty() {
        assert_eq!((fixed(None, None), ratio(None)), (String::new(), String::new()));
        assert_eq!(fixed(Some(2.46), Some(1)), "2.5");
        assert_eq!([time(1500.0), time(20_000.0), time(380.4)], ["1.5 s", "20 s", "380 ms"]);
    }

    #[test]
    fn a_report_of_an_emulated_machine_names_the_reason_in_one_line() {
        let counted = render_emulated("no svm", true).unwrap();
        assert!(counted.contains("(no svm), with a clock that counts instructions"), "{counted}");
        assert_eq!(counted.lines().count(), 1);
        assert_ne!(counted, render_emulated("no svm", false).unwrap());
    }
}
