//! One side filled up: started one after the other, measured, and taken down.

use super::memory::{Memory, Snapshot};
use super::report::{Failure, Filled, Idle, Start};
use super::side::{One, Side};
use crate::compare::ground::{CLIENT, Ground, before_each};
use anyhow::{Context, Result, ensure};
use lab::host::say;
use lab_client::measure::{self, Measure, Several};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The longest that an app may take, in seconds.
const PATIENCE_S: &str = "45";
/// Memory is looked at each time that so many more run.
const EACH: u16 = 15;
/// What dom0 must keep, in MiB: with less, Linux there would kill what it can.
const DOM0_KEEPS_MIB: f64 = 96.0;
/// After so many that fail one after the other, no more are started.
const MOST_FAILURES: usize = 3;
/// Seconds of rest before memory is looked at.
const REST_S: u32 = 2;
/// Seconds over which idle domains are watched.
const IDLE_S: u32 = 10;

/// Fills one side with up to `most`, and takes it down again, whatever happened.
///
/// # Errors
/// When dom0 does not answer, or what was started cannot be taken down.
pub fn fill(
    ground: &Ground,
    side: &Side,
    most: u16,
    port: u16,
    stop: &AtomicBool,
) -> Result<Filled> {
    let image = &ground.image.name;
    let mut filled = Filled::new(side, &side.one(1, image).command);
    let result = fill_up(ground, side, most, port, stop, &mut filled);
    let begin = Instant::now();
    let script = side.take_down(most);
    let output = ground.place.run(&["sh", "-u"], script.as_bytes())?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    #[expect(clippy::cast_precision_loss, reason = "a number of domains")]
    let count = filled.starts.len().max(1) as f64;
    filled.taken_down_ms = took / count;
    result?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.code == 0, "cannot take {} down: {}", filled.name, text.trim());
    let left = ground.place.sh("xl list | grep -c '^density-' || true")?;
    ensure!(left.trim() == "0", "{} domains are left", left.trim());
    Ok(filled)
}

fn fill_up(
    ground: &Ground,
    side: &Side,
    most: u16,
    port: u16,
    stop: &AtomicBool,
    filled: &mut Filled,
) -> Result<()> {
    let rest = format!("sync; sleep {REST_S}");
    ground.place.sh(&rest)?;
    let before = Snapshot::take(&ground.place)?;
    let mut up: Vec<One> = Vec::new();
    let mut failed_in_a_row = 0;
    for number in 1..=most {
        let running = u16::try_from(up.len())?;
        if stop.load(Ordering::Relaxed) {
            filled.ended = "stopped by a signal".into();
            break;
        }
        let one = side.one(number, &ground.image.name);
        let measure = start(ground, &one, port)?;
        let Some(first_200_ms) = measure.first_answer_ms else {
            let more = ground.place.run(&["sh", "-c", &one.explain()], &[])?;
            let more = String::from_utf8_lossy(&more.stdout);
            let why = format!("{:?} {} {}", measure.failures, measure.output.trim(), more.trim());
            say(&format!("{} {number}: {why}", filled.name));
            let is_full = measure.exit_code != Some(0) && is_about_memory(&measure.output);
            if is_full {
                filled.ended = measure.output.lines().last().unwrap_or_default().to_owned();
                break;
            }
            filled.failures.push(Failure { running, why });
            ground.place.run(&["sh", "-c", &one.take_down()], &[])?;
            failed_in_a_row += 1;
            if failed_in_a_row == MOST_FAILURES {
                filled.ended = format!("{MOST_FAILURES} starts failed one after the other");
                break;
            }
            continue;
        };
        failed_in_a_row = 0;
        let returned_ms = measure.returned_ms;
        filled.starts.push(Start { running, first_200_ms, returned_ms });
        filled.bodies_sha256.extend(measure.body_sha256);
        say(&format!("{} {number}: first answer {first_200_ms:.0} ms", filled.name));
        up.push(one);
        let running = running + 1;
        if running % EACH == 0 || running == 1 || number == most {
            ground.place.sh(&rest)?;
            let now = Snapshot::take(&ground.place)?;
            let memory = Memory::between(&before, &now, running);
            say(&format!("{running} run: {:.1} MiB each", memory.of_one().total_mib));
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
        ground.place.sh(&rest)?;
        let now = Snapshot::take(&ground.place)?;
        filled.memory.push(Memory::between(&before, &now, running));
    }
    filled.idle = Some(watch_idle(ground)?);
    filled.answered_at_end = ask_all(ground, &up, port)?;
    Ok(())
}

/// Starts one and waits for its answer.
fn start(ground: &Ground, one: &One, port: u16) -> Result<Measure> {
    one.prepare(ground)?;
    ground.place.sh(&before_each())?;
    let address = format!("{}:{port}", one.address);
    let mut argv = vec![CLIENT, "measure", "http", &address, PATIENCE_S];
    argv.extend(one.command.iter().map(String::as_str));
    let output = ground.place.run(&argv, &[])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.code == 0, "the client fails: {text}");
    serde_json::from_slice(&output.stdout).context("the client gave no JSON")
}

/// Starts several by one client, `in-a-row` or `at-once`.
///
/// # Errors
/// When the client fails.
pub fn start_several(ground: &Ground, how: &str, all: &[One], port: u16) -> Result<Several> {
    let list: Vec<measure::One> = all
        .iter()
        .map(|one| measure::One {
            address: SocketAddrV4::new(one.address, port),
            command: one.command.clone(),
        })
        .collect();
    let argv = [CLIENT, "several", how, "http", PATIENCE_S];
    let output = ground.place.run(&argv, &serde_json::to_vec(&list)?)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.code == 0, "the client fails: {text}");
    serde_json::from_slice(&output.stdout).context("the client gave no JSON")
}

/// How many answer once more.
fn ask_all(ground: &Ground, all: &[One], port: u16) -> Result<u16> {
    let mut all = all.to_vec();
    for one in &mut all {
        one.command = vec!["true".into()];
    }
    let mut count = 0;
    for some in all.chunks(32) {
        let several = start_several(ground, "in-a-row", some, port)?;
        let answered = several.starts.iter().filter(|start| start.first_answer_ms.is_some());
        count += u16::try_from(answered.count())?;
    }
    Ok(count)
}

/// Processor time while nobody asks anything.
fn watch_idle(ground: &Ground) -> Result<Idle> {
    // The first of two looks counts from the domains' beginnings.
    let script = format!(
        "sleep {REST_S}
xentop -b -f -d {IDLE_S} -i 2 | awk '$1 == \"NAME\" {{ look++ }}
look == 2 && $1 == \"Domain-0\" {{ dom0 = $4 }}
look == 2 && $1 ~ /^density-/ {{ guests += $4 }}
END {{ print dom0 + 0, guests + 0 }}'"
    );
    let text = ground.place.sh(&script)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [dom0_percent, guests_percent] = numbers[..] else {
        anyhow::bail!("xentop says {text:?}");
    };
    Ok(Idle { dom0_percent, guests_percent })
}

/// Whether a launch was refused because Xen has no more memory.
fn is_about_memory(output: &str) -> bool {
    output.contains("not enough") && output.contains("memory")
}
