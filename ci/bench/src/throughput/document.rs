//! What was measured, as a page of the documentation.

use super::report::{Entry, Report};
use super::table::ratio;
use super::workload::DISK_SCRIPT;
use crate::compare::output::{add_machine, heading, losses};
use std::fmt::Write;

/// Renders the page; `picture` is the name of the picture beside it, `json` that of the figures.
#[must_use]
pub fn render(report: &Report, picture: &str, json: &str) -> String {
    let mut page = heading("Throughput", report.emulated.as_ref());
    let _ = writeln!(
        page,
        "Written by `ci/throughput` from [its figures]({json}), {} rounds, {}, {} UTC. Again, on your machine:\n\n```sh\n{}\n```\n\n\
         ![Rates and latencies in domains and in a container]({picture})\n",
        report.rounds,
        report.images.join(", "),
        report.date,
        report.command
    );
    page += &losses(&lost(report));
    add_figures(&mut page, report);
    add_method(&mut page, report);
    add_machine(&mut page, &report.machine);
    page += FILE;
    page
}

/// Worst first.
fn lost(report: &Report) -> Vec<String> {
    let mut slower: Vec<(f64, String)> = Vec::new();
    let mut failed = Vec::new();
    for measured in &report.workloads {
        for entry in measured.contenders.iter().filter(|entry| entry.name != "crun") {
            if let Some(value) = entry.ratio_to_crun.filter(|ratio| ratio.value < 1.0) {
                let text = format!(
                    "{}: {} does {} of crun's {} a second.",
                    measured.title,
                    entry.name,
                    ratio(value),
                    measured.unit
                );
                slower.push((value.value, text));
            }
            if !entry.failures.is_empty() {
                let count = entry.failures.len();
                let text = in_short(&entry.failures);
                failed.push(format!(
                    "{}: {count} rounds of {} went wrong and are in no figure: {text}",
                    measured.title, entry.name
                ));
            }
        }
    }
    slower.sort_by(|one, other| one.0.total_cmp(&other.0));
    slower.into_iter().map(|(_, text)| text).chain(failed).collect()
}

/// The last line of each failure, each only once, without its round.
fn in_short(failures: &[String]) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for failure in failures {
        let line = failure.lines().last().unwrap_or_default();
        let line = match line.split_once(": ") {
            Some((round, rest)) if round.starts_with("round ") => rest,
            _ => line,
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("; ")
}

fn add_figures(page: &mut String, report: &Report) {
    let _ = writeln!(
        page,
        "\n## Rates and latencies\n\n{} connections, each asking anew as soon as it has its answer, {} s a round. Latencies are milliseconds, \
         the median over the rounds of each quantile; the interval of a ratio holds 95 % of redrawn rounds. More is better in rates and in ratios.\n",
        report.connections, report.seconds
    );
    *page +=
        "| | | n | a second: min | median | max | p50 | p90 | p99 | p99.9 | rate to crun's |\n";
    *page += "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for measured in &report.workloads {
        for entry in &measured.contenders {
            let title = format!("{}, {}", measured.title, measured.unit);
            let _ = writeln!(page, "| {title} | {} | {} |", entry.name, row(entry));
        }
    }
}

fn row(entry: &Entry) -> String {
    let Some(rate) = entry.rate else { return "0 | | | | | | | | ".into() };
    let latency = entry.latency.map_or(" | | | ".into(), |latency| {
        format!(
            "{:.2} | {:.2} | {:.2} | {:.2}",
            latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms
        )
    });
    format!(
        "{} | {:.1} | **{:.1}** | {:.1} | {latency} | {}",
        entry.rounds.len(),
        rate.min,
        rate.median,
        rate.max,
        entry.ratio_to_crun.map_or(String::new(), ratio)
    )
}

fn add_method(page: &mut String, report: &Report) {
    let _ = writeln!(
        page,
        "\n## How it is measured

One client in dom0, of one thread, for all sides: each connection sends a request, waits for the whole answer, and sends the
next. The first eighth of each load is in no figure. The sides take turns, in an order that moves on by one each round; the
apps of all sides are up all the while, and only one is loaded. All must give the same answer: the SHA-256 of each
connection's first body is compared, and every answer must be whole.

A domain has one virtual processor and {} MiB of memory of its own; the container may use all that dom0 has, and shares
dom0's processors with the client. The disk's part runs in the app's place, in a fresh domain or container each
round, with dom0's page cache warm; `dd` times it on the clock that it sees:

```sh
{DISK_SCRIPT}
```

| | command | ready beforehand |
|---|---|---|",
        report.memory_mib
    );
    let mut seen = Vec::new();
    for entry in report.workloads.iter().flat_map(|measured| &measured.contenders) {
        let command = entry.command.join(" ").replace('\n', "; ").replace('|', "\\|");
        if seen.contains(&(&entry.name, command.clone())) {
            continue;
        }
        let ready = report.ready.get(&entry.name).map_or(String::new(), |ready| ready.join("; "));
        let _ = writeln!(page, "| {} | `{command}` | {ready} |", entry.name);
        seen.push((&entry.name, command));
    }
}

/// What the fields of the JSON file are.
const FILE: &str = "
## The file of figures

`--json FILE` writes one object. `version` is raised when a reader of an earlier one would go wrong.

| field | what it is |
|---|---|
| `emulated` | `null` on hardware; else what that distorts |
| `workloads[]` | `name`, `title`, `unit`; `contenders[]`, each with `name`, `command`, `rate` (units a second: `min`, `median`, `p90`, `max`), `latency` (`p50_ms`, `p90_ms`, `p99_ms`, `p999_ms`, `max_ms`), `ratio_to_crun` (`value`, `low`, `high`), `bodies_sha256`, `rounds[]` with the same of each round, `failures[]` |
| `rounds`, `connections`, `seconds`, `memory_mib`, `ready` | how much was done, and with what |
| `machine`, `date`, `command`, `images` | where, when, how and with what |
";

#[cfg(test)]
mod tests {
    use super::in_short;

    #[test]
    fn a_failure_is_told_once_and_in_one_line() {
        let failures =
            ["round 5: no answer", "round 6: sh failed\nlaunch: it is gone", "round 7: no answer"];
        let text = in_short(&failures.map(str::to_owned));
        assert_eq!(text, "no answer; launch: it is gone");
    }
}
