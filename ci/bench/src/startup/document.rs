//! What was measured, as a page of the documentation.

use super::report::{Entry, Report};
use super::rounds::WHOLE;
use crate::compare::output::{add_machine, heading, losses};
use crate::compare::statistics::{Ratio, Summary};
use std::fmt::Write;

/// Renders the page; `picture` is the name of the picture beside it, `json` that of the figures.
#[must_use]
pub fn render(report: &Report, picture: &str, json: &str) -> String {
    let mut page = heading("Start-up time", report.emulated.as_ref());
    let _ = writeln!(
        page,
        "Written by `ci/startup-time` from [its figures]({json}), {} rounds, {}, {} UTC. Again, on your machine:\n\n```sh\n{}\n```\n\n![Every start of every \
         contender, and where a launch's time goes]({picture})\n",
        report.rounds, report.image, report.date, report.command
    );
    add_figures(&mut page, report);
    add_losses(&mut page, report);
    add_ratios(&mut page, report);
    add_phases(&mut page, report);
    add_method(&mut page, report);
    add_machine(&mut page, &report.machine);
    page += FILE;
    page
}

/// What the fields of the JSON file are.
const FILE: &str = "
## The file of figures

`--json FILE` writes one object; times are milliseconds. `version` is raised when a reader of an
earlier one would go wrong.

| field | what it is |
|---|---|
| `emulated` | `null` on hardware; else what that distorts |
| `contenders[]` | `name`, `n`, `failed` with `failures[]`; `first_200_ms` and `returned_ms`, each with `min`, `median`, `p90`, `max`; `phases_ms`, the median of each phase; `ratio_to_crun` and `ratio_to_docker`, each with `value`, `low`, `high`; `bodies_sha256`; `plan`, the commands and what was ready; `samples_...`, every start in the order of the rounds; `samples_phase_starts_ms`, when its phases began; `warm_up_ms` |
| `xl_create` | the same for `xl create` of a cold launch's domain with stock scripts, whose return alone counts |
| `kernels[]` | ours, then Debian's: to init on the guest's clock (`guest_ms`) and on dom0's (`seen_ms`) |
| `missing` | contenders that did not run, with the reason |
| `ratios`, `intervals` | by name; `null` where a side did not run |
| `machine`, `date`, `command`, `image`, `question`, `rounds` | where, when, how and with what |
";

fn add_figures(page: &mut String, report: &Report) {
    let answer = if report.question == "http" { "HTTP 200" } else { "answer to PING" };
    let _ = writeln!(page, "## From the command to the first {answer}\n");
    *page += "Milliseconds; the interval of a ratio holds 95 % of redrawn samples.\n\n";
    *page += "| | n | min | median | p90 | max | command returned | to crun | to docker |\n";
    *page += "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for entry in &report.contenders {
        let Some(Summary { min, median, p90, max }) = entry.first_200_ms else { continue };
        let returned = entry.returned_ms.map_or("".into(), |times| format!("{:.0}", times.median));
        let _ = writeln!(
            page,
            "| {} | {} | {min:.0} | **{median:.0}** | {p90:.0} | {max:.0} | {returned} | {} | {} |",
            entry.name,
            entry.n,
            ratio(entry.ratio_to_crun),
            ratio(entry.ratio_to_docker),
        );
    }
    *page += "\n";
    for entry in report.contenders.iter().filter(|entry| entry.failed > 0) {
        let _ = writeln!(
            page,
            "- {}: {} more starts went wrong and are in no figure: {}",
            entry.name,
            entry.failed,
            // What a program printed has lines of its own.
            entry.failures.join("; ").split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }
    for (name, reason) in &report.missing {
        let _ = writeln!(page, "- {name} did not run: {reason}");
    }
    for entry in &report.contenders {
        if let (Some(first), Some(warm_up)) = (entry.first_200_ms, entry.warm_up_ms) {
            if warm_up > first.max * 1.5 {
                let _ = writeln!(
                    page,
                    "- {}: the start before the rounds, with a cold page cache, took {warm_up:.0} ms.",
                    entry.name
                );
            }
        }
    }
}

fn add_losses(page: &mut String, report: &Report) {
    let slower = |of: fn(&Entry) -> Option<Ratio>, against: &str| -> Vec<String> {
        let all = report.contenders.iter().filter(|entry| entry.name.starts_with("launch"));
        let mut lost: Vec<(f64, String)> = all
            .filter_map(|entry| Some((of(entry)?.value, entry.name.clone())))
            .filter(|(value, _)| *value > 1.0)
            .collect();
        lost.sort_by(|one, other| other.0.total_cmp(&one.0));
        let text = |(value, name): (f64, String)| {
            format!("{name} takes {value:.1} times as long as {against}.")
        };
        lost.into_iter().map(text).collect()
    };
    let lost = [
        slower(|entry| entry.ratio_to_crun, "crun"),
        slower(|entry| entry.ratio_to_docker, "docker"),
    ]
    .concat();
    *page += &format!("\n{}", losses(&lost));
}

fn add_ratios(page: &mut String, report: &Report) {
    *page += "\n## Ratios that have a target\n\n| | ratio | interval | what it compares |\n|---|--:|--:|---|\n";
    let cold = format!(
        "{} (the type that `launch` chooses here) against crun, to the first answer",
        report.usual()
    );
    for (name, what) in [
        ("cold_vs_crun", cold.as_str()),
        ("pooled_vs_crun", "launch-pool against crun, to the first answer"),
        (
            "native_create_vs_xl_create",
            "the phases `domain` and `devices` of launch-native-pvh against `xl create` of the same domain with stock scripts",
        ),
        (
            "kernel_vs_debian",
            "our kernel to init against Debian's, PVH, same initramfs, on the guest's clock",
        ),
    ] {
        let value = report.ratios.get(name).copied().flatten();
        let interval = report.intervals.get(name).copied().flatten();
        let value = value.map_or("not measured".into(), |value| format!("{value:.3}"));
        let interval =
            interval.map_or(String::new(), |[low, high]| format!("{low:.3} to {high:.3}"));
        let _ = writeln!(page, "| `{name}` | {value} | {interval} | {what} |");
    }
    if let Some(Entry { returned_ms: Some(times), n, .. }) = &report.xl_create {
        let _ = writeln!(
            page,
            "\n`xl create` of the same domain with stock scripts: median {:.0} ms of {n}.",
            times.median
        );
    }
    for kernel in &report.kernels {
        if let (Some(guest), Some(seen)) = (&kernel.guest_ms, &kernel.seen_ms) {
            let _ = writeln!(
                page,
                "\n`{}` to init: median {:.0} ms of {} on the guest's clock; {:.0} ms on dom0's, from \
                 the start of `xl unpause` to init's line on the console.",
                kernel.kernel, guest.median, kernel.n, seen.median
            );
        }
    }
}

fn add_phases(page: &mut String, report: &Report) {
    let with: Vec<&Entry> =
        report.contenders.iter().filter(|entry| !entry.phases_ms.0.is_empty()).collect();
    if with.is_empty() {
        return;
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in with.iter().flat_map(|entry| &entry.phases_ms.0) {
        if !names.contains(&name.as_str()) && name != WHOLE {
            names.push(name);
        }
    }
    names.push(WHOLE);
    *page += "\n## Where a launch's time goes\n\nMedians of `launch run --time` in starts of their own, in milliseconds. \
              Phases of dom0 overlap with those of the guest (`guest:`), which follow each other; the picture \
              shows one start, cut into what follows each other.\n\n| |";
    for entry in &with {
        let _ = write!(page, " {} |", entry.name);
    }
    *page += "\n|---|";
    *page += &"--:|".repeat(with.len());
    *page += "\n";
    for name in names {
        let _ = write!(page, "| {name} |");
        for entry in &with {
            let ms = entry.phases_ms.get(name).map_or(String::new(), |ms| format!("{ms:.1}"));
            let _ = write!(page, " {ms} |");
        }
        *page += "\n";
    }
}

fn add_method(page: &mut String, report: &Report) {
    *page += "\n## How it is measured\n
One static program in dom0 starts each command and asks the app's own address until it has a whole
answer, for all contenders alike. It asks anew after a hundredth of the time that has gone by, and no
more often than each millisecond; that is the figures' resolution. On its bridges dom0 asks for
unknown neighbours every 10 ms instead of every second, as the clock would otherwise show how an app's
start falls between two such questions; on `launch0`, where `launch` tells it who they are, it asks for nobody.

The contenders take turns, in an order that gives each another one before it in each round. One start
before the rounds warms dom0's page cache up and is in no figure; it is in the JSON. No contender publishes a port. All
must give the same answer: the SHA-256 of the page is compared.\n\n";
    *page += "| | command | ready beforehand |\n|---|---|---|\n";
    for entry in report.contenders.iter().chain(&report.xl_create) {
        let command = entry.plan.command.join(" ");
        let _ =
            writeln!(page, "| {} | `{command}` | {} |", entry.name, entry.plan.ready.join("; "));
    }
}

fn ratio(ratio: Option<Ratio>) -> String {
    ratio.map_or(String::new(), |Ratio { value, low, high }| {
        format!("{value:.2} ({low:.2} to {high:.2})")
    })
}
