//! Fills one side: starts its apps one after the other, measures them, and removes them.

use super::memory::{Memory, Snapshot};
use super::numbered::{app, explain, start, start_several, take_down};
use super::report::{Failure, Filled, Idle, Start};
use crate::command::Stop;
use crate::side::{App, Side};
use crate::testbed::Testbed;
use anyhow::{Result, ensure};
use lab::host::say;
use std::time::Instant;

/// Memory is measured each time that this many more run. `pages/density.md` has the number too.
const EACH: u16 = 15;
/// The memory that dom0 must keep, in MiB: with less, its Linux would kill processes.
const DOM0_KEEPS_MIB: f64 = 96.0;
/// After this many failures in a row no more are started.
const MOST_FAILURES: usize = 3;
/// Seconds of rest before memory is measured.
const REST_S: u32 = 2;
/// Seconds over which idle domains are watched.
const IDLE_S: u32 = 10;

/// Starts up to `most` apps of one side, and removes them, also after an error.
pub(crate) fn fill(testbed: &Testbed<'_>, side: &Side, most: u16, stop: &Stop) -> Result<Filled> {
    let command = app(side, 1).command(&testbed.image.name, &[], true);
    let mut filled = Filled::new(side, command);
    let result = fill_up(testbed, side, most, stop, &mut filled);
    let begin = Instant::now();
    let output = testbed.dom0.run(&["sh", "-u"], take_down(side, most).as_bytes())?;
    let took_ms = begin.elapsed().as_secs_f64() * 1e3;
    #[expect(clippy::cast_precision_loss, reason = "a number of domains")]
    let count = filled.starts.len().max(1) as f64;
    filled.taken_down_ms = took_ms / count;
    result?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.code == 0, "cannot remove {}: {}", filled.name, text.trim());
    let left = testbed.dom0.sh("xl list | grep -c '^density-' || true")?;
    ensure!(left.trim() == "0", "{} domains still exist", left.trim());
    Ok(filled)
}

fn fill_up(
    testbed: &Testbed<'_>,
    side: &Side,
    most: u16,
    stop: &Stop,
    filled: &mut Filled,
) -> Result<()> {
    let before = look(testbed)?;
    let mut up: Vec<App> = Vec::new();
    let mut failed_in_a_row = 0;
    for number in 1..=most {
        let running = u16::try_from(up.len())?;
        if stop.has_come() {
            filled.ended = "stopped by a signal".into();
            break;
        }
        let app = app(side, number);
        let measure = start(testbed, &app)?;
        let Some(first_200_ms) = measure.first_answer_ms else {
            let more = testbed.dom0.run(&["sh", "-c", &explain(&app)], &[])?;
            let more = String::from_utf8_lossy(&more.stdout);
            let why = format!("{} {}", measure.why(), more.trim());
            say(&format!("{} {number}: {why}", filled.name));
            // Xen refused the launch because it has no more memory.
            let is_full = ["not enough", "memory"].iter().all(|word| measure.output.contains(word));
            if measure.exit_code != Some(0) && is_full {
                filled.ended = measure.output.lines().last().unwrap_or_default().to_owned();
                break;
            }
            filled.failures.push(Failure { running, why });
            testbed.dom0.run(&["sh", "-c", &app.take_down()], &[])?;
            failed_in_a_row += 1;
            if failed_in_a_row == MOST_FAILURES {
                filled.ended = format!("{MOST_FAILURES} starts failed one after the other");
                break;
            }
            continue;
        };
        failed_in_a_row = 0;
        filled.starts.push(Start { running, first_200_ms, returned_ms: measure.returned_ms });
        filled.bodies_sha256.extend(measure.body_sha256);
        say(&format!("{} {number}: first answer {first_200_ms:.0} ms", filled.name));
        up.push(app);
        let running = running + 1;
        if running % EACH == 0 || running == 1 || number == most {
            let now = look(testbed)?;
            let memory = Memory::between(&before, &now, running);
            say(&format!("{running} run: {:.1} MiB each", memory.total_mib / f64::from(running)));
            filled.memory.push(memory);
            let left = now.dom0_total_mib - now.dom0_used_mib;
            if left < DOM0_KEEPS_MIB {
                filled.ended = format!("dom0 had only {left:.0} MiB left");
                break;
            }
        }
    }
    filled.bodies_sha256.sort();
    filled.bodies_sha256.dedup();
    let running = u16::try_from(up.len())?;
    if filled.memory.last().is_some_and(|memory| memory.running != running) {
        filled.memory.push(Memory::between(&before, &look(testbed)?, running));
    }
    filled.idle = Some(watch_idle(testbed)?);
    for some in up.chunks(32) {
        let several = start_several(testbed, "in-a-row", some, true)?;
        let answered = several.starts.iter().filter(|start| start.first_answer_ms.is_some());
        filled.answered_at_end += u16::try_from(answered.count())?;
    }
    Ok(())
}

/// Measures memory after a rest.
fn look(testbed: &Testbed<'_>) -> Result<Snapshot> {
    testbed.dom0.sh(&format!("sync; sleep {REST_S}"))?;
    Snapshot::take(testbed.dom0)
}

/// Measures the processor time of apps that receive no requests.
fn watch_idle(testbed: &Testbed<'_>) -> Result<Idle> {
    // The first of xentop's two results counts from the start of the domains.
    let script = format!(
        "sleep {REST_S}
xentop -b -f -d {IDLE_S} -i 2 | awk '$1 == \"NAME\" {{ look++ }}
look == 2 && $1 == \"Domain-0\" {{ dom0 = $4 }}
look == 2 && $1 ~ /^density-/ {{ guests += $4 }}
END {{ print dom0 + 0, guests + 0 }}'"
    );
    let text = testbed.dom0.sh(&script)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [dom0_percent, guests_percent] = numbers[..] else {
        anyhow::bail!("xentop printed {text:?}");
    };
    Ok(Idle { dom0_percent, guests_percent })
}
