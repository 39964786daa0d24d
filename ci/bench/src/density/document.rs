//! What was measured, as a page of the documentation.

use super::report::{COMPARED, Filled, Report};
use super::table::ratio;
use crate::compare::output::{add_machine, heading, losses};
use crate::compare::statistics::Summary;
use std::fmt::Write;

/// What a ratio is to be at most, where there is a target.
const TARGETS: [(&str, f64); 4] = [
    ("launch-pv_last_vs_first", 1.15),
    ("launch-pvh_last_vs_first", 1.15),
    ("launch-pv_at_once_vs_in_a_row", 0.8),
    ("launch-pvh_at_once_vs_in_a_row", 0.8),
];
/// What a monitor is to take at most, in MiB.
const MONITOR_MIB: f64 = 2.0;

/// Renders the page; `picture` is the name of the picture beside it, `json` that of the figures.
#[must_use]
pub fn render(report: &Report, picture: &str, json: &str) -> String {
    let mut page = heading("Density", report.emulated.as_ref());
    let _ = writeln!(
        page,
        "Written by `ci/density` from [its figures]({json}), {}, {} UTC. Again, on your machine:\n\n```sh\n{}\n```\n\n\
         ![Launch time against the number running, and where memory goes]({picture})\n",
        report.image, report.date, report.command
    );
    page += &losses(&lost(report));
    add_starts(&mut page, report);
    add_memory(&mut page, report);
    add_at_once(&mut page, report);
    add_ratios(&mut page, report);
    add_method(&mut page, report);
    add_machine(&mut page, &report.machine);
    page += FILE;
    page
}

fn lost(report: &Report) -> Vec<String> {
    let mut lost = Vec::new();
    let crun = report.sides.iter().find(|side| !side.is_launch());
    for side in report.sides.iter().filter(|side| side.is_launch()) {
        let against = crun.and_then(|crun| Some((side.memory_of_one()?, crun.memory_of_one()?)));
        if let Some((ours, theirs)) = against {
            let (ours, theirs) = (ours.total_mib, theirs.total_mib);
            if ours > theirs {
                lost.push(format!(
                    "A domain of {} takes {:.1} times as much memory as a container: {ours:.1} against {theirs:.1} MiB.",
                    side.name,
                    ours / theirs
                ));
            }
        }
        let name = format!("{}_vs_crun", side.name);
        if let Some(value) = report.ratios.get(&name).copied().flatten() {
            if value.value > 1.0 {
                let value = ratio(value);
                lost.push(format!("{} takes {value} times as long as crun to its first HTTP 200, over all starts.", side.name));
            }
        }
        let idle = side.idle.zip(crun.and_then(|crun| crun.idle));
        if let Some((ours, theirs)) = idle {
            let (ours, theirs) = (ours.dom0_percent + ours.guests_percent, theirs.dom0_percent);
            if ours > theirs {
                lost.push(format!("{} domains of {} that nobody asks anything take {ours:.1} % of a processor, dom0 with them; dom0 with the containers takes {theirs:.1} %.", side.count(), side.name));
            }
        }
    }
    if let Some(crun) = crun {
        for side in report.sides.iter().filter(|side| side.is_launch()) {
            if side.taken_down_ms > crun.taken_down_ms {
                lost.push(format!(
                    "Taking a domain of {} down takes {:.0} ms, a container {:.0} ms.",
                    side.name, side.taken_down_ms, crun.taken_down_ms
                ));
            }
        }
    }
    for (name, target) in TARGETS {
        if let Some(value) = report.ratios.get(name).copied().flatten() {
            if value.value > target {
                lost.push(format!("`{name}` is {}; its target is {target}.", ratio(value)));
            }
        }
    }
    for side in &report.sides {
        let monitor = side.memory_of_one().map_or(0.0, |one| one.monitors_mib);
        if monitor > MONITOR_MIB {
            lost.push(format!("A monitor takes {monitor:.1} MiB; the target is {MONITOR_MIB}."));
        }
        if !side.failures.is_empty() {
            lost.push(format!("{} starts of {} went wrong.", side.failures.len(), side.name));
        }
        let silent = side.count() - usize::from(side.answered_at_end).min(side.count());
        if silent > 0 {
            lost.push(format!(
                "{silent} of {} that ran as {} did not answer any more when all ran.",
                side.count(),
                side.name
            ));
        }
    }
    for at_once in report.at_once.iter().filter(|at_once| !at_once.failures.is_empty()) {
        lost.push(format!(
            "{} of {} rounds of {} launches of {} had a failure: {}",
            at_once.failures.len(),
            at_once.failures.len() + at_once.in_a_row_ms.len() + at_once.at_once_ms.len(),
            at_once.count,
            at_once.kind,
            at_once.failures.join("; ")
        ));
    }
    lost
}

fn add_starts(page: &mut String, report: &Report) {
    let _ = writeln!(
        page,
        "\n## Starts with many running\n\nMedians from the command to the first HTTP 200, in milliseconds: the first and the last {COMPARED} starts.\n\n\
         | | run at once | first | last | last to first | taken down, each | why no more |\n|---|--:|--:|--:|--:|--:|---|"
    );
    for side in &report.sides {
        let median = |times: Option<Summary>| {
            times.map_or(String::new(), |times| format!("{:.0}", times.median))
        };
        let value = report.ratios.get(&format!("{}_last_vs_first", side.name)).copied().flatten();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {:.0} | {} |",
            side.name,
            side.count(),
            median(side.first),
            median(side.last),
            value.map_or(String::new(), ratio),
            side.taken_down_ms,
            side.ended,
        );
    }
    for side in &report.sides {
        for failure in &side.failures {
            let _ = writeln!(
                page,
                "\n- {} with {} running went wrong and is in no figure: {}",
                side.name, failure.running, failure.why
            );
        }
    }
}

fn add_memory(page: &mut String, report: &Report) {
    let _ = writeln!(
        page,
        "\n## Memory of one\n\nMiB, when most ran, divided by their number. The image's disk has {:.1} MiB; what an app has read of it lies in its guest's memory.\n\n\
         | | guest | Xen | monitor | rest of dom0 | **all** | all of them together |\n|---|--:|--:|--:|--:|--:|--:|",
        report.image_mib
    );
    for side in &report.sides {
        let (Some(one), Some(all)) = (side.memory_of_one(), side.memory.last()) else { continue };
        let _ = writeln!(
            page,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | **{:.2}** | {:.0} |",
            side.name,
            one.guest_mib,
            one.xen_mib,
            one.monitors_mib,
            one.dom0_mib,
            one.total_mib,
            all.total_mib
        );
    }
    *page += "\nGuest: the memory that the domain owns. Xen: what it needs for the domain, the fall of its free memory beyond the
guest's own. Monitor: `launch`'s process for the app, its proportional set size. Rest of dom0: what else Linux there can
no longer give away (all less `MemAvailable`): backends, devices, xenstore, for a container its processes and all the
kernel has for it. A domain's memory is fixed when it starts; nothing of it goes to others while its app is idle.\n";
    let idle = |side: &Filled| {
        let idle = side.idle?;
        Some(format!(
            "- {}: dom0 {:.1} %, all domains together {:.1} %\n",
            side.name, idle.dom0_percent, idle.guests_percent
        ))
    };
    let lines: String = report.sides.iter().filter_map(idle).collect();
    let _ = writeln!(
        page,
        "\nProcessor time when all run and nobody asks, in percent of one processor:\n\n{lines}"
    );
}

fn add_at_once(page: &mut String, report: &Report) {
    if report.at_once.is_empty() {
        return;
    }
    *page += "## Launches at once\n\nUntil all have answered, in seconds: median, and each round.\n\n| | in a row | at once | ratio |\n|---|--:|--:|--:|\n";
    for at_once in &report.at_once {
        let times = |times: &[f64]| {
            let all: Vec<String> = times.iter().map(|ms| format!("{:.1}", ms / 1e3)).collect();
            let median =
                Summary::of(times).map_or("-".into(), |all| format!("{:.1}", all.median / 1e3));
            format!("**{median}** ({})", all.join(", "))
        };
        let _ = writeln!(
            page,
            "| {} of {} | {} | {} | {} |",
            at_once.count,
            at_once.kind,
            times(&at_once.in_a_row_ms),
            times(&at_once.at_once_ms),
            at_once.ratio().map_or("not measured".into(), ratio)
        );
    }
}

fn add_ratios(page: &mut String, report: &Report) {
    *page += "\n## Ratios\n\nWith the interval that holds 95 % of redrawn samples.\n\n| | ratio | target |\n|---|--:|--:|\n";
    for (name, value) in &report.ratios {
        let target = TARGETS.iter().find(|(known, _)| known == name);
        let target = target.map_or(String::new(), |(_, target)| format!("at most {target}"));
        let value = value.map_or("not measured".into(), ratio);
        let _ = writeln!(page, "| `{name}` | {value} | {target} |");
    }
}

fn add_method(page: &mut String, report: &Report) {
    *page += "\n## How it is measured\n
One after the other is started, each when the one before has answered, and none is stopped until no more are started.
The client in dom0 is that of [start-up time](../ci/startup-time): it starts the command and asks the app's own address
until it has a whole answer. In the end each is asked once more. Memory is looked at after each fifteenth start, when all has
been quiet for two seconds. Domains and containers run in the same dom0, one side after the other.\n\n";
    *page += "| | command | ready beforehand |\n|---|---|---|\n";
    for side in &report.sides {
        let (command, ready) = (side.command.join(" "), side.ready.join("; "));
        let _ = writeln!(page, "| {} | `{command}` | {ready} |", side.name);
    }
}

/// What the fields of the JSON file are.
const FILE: &str = "
## The file of figures

`--json FILE` writes one object; times are milliseconds, memory MiB. `version` is raised when a reader of an earlier one
would go wrong.

| field | what it is |
|---|---|
| `emulated` | `null` on hardware; else what that distorts |
| `sides[]` | `name`; `starts[]`, each with `running` (how many ran already), `first_200_ms`, `returned_ms`; `failures[]`; `memory[]`, what was added since none ran; `first` and `last`, the first and the last starts; `idle`; `taken_down_ms`; `answered_at_end`; `ended`; `command`, `ready`, `memory_mib`, `bodies_sha256` |
| `at_once[]` | `kind`, `count`, `in_a_row_ms[]` and `at_once_ms[]`, each round; `failures[]` |
| `ratios` | by name, each with `value`, `low`, `high`; `null` where a side did not run |
| `machine`, `date`, `command`, `image`, `image_mib` | where, when, how and with what |
";
