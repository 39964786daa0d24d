//! The rounds: every side does every workload once in each, in an order that moves on by one a round.

use super::contender::Contender;
use super::report::{Entry, Measured, Round};
use super::workload::{App, DISK, DISK_SCRIPT, LOADS, NGINX, SYNCED_WRITES, Workload, parse_dd};
use crate::compare::ground::{CLIENT, Ground};
use anyhow::{Context, Result, ensure};
use lab::host::say;
use lab_client::measure::Load;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MIB: f64 = 1_048_576.0;
/// How many processes are run beside an app in a round.
const PROCESSES: u32 = 10;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Rounds.
    pub rounds: u16,
    /// Connections of a load.
    pub connections: u32,
    /// Seconds of a load.
    pub seconds: u32,
}

/// Loads an app, which runs on all sides all the while.
///
/// # Errors
/// When it does not start, or dom0 does not answer.
pub fn run_loads(
    ground: &Ground,
    contenders: &[Contender],
    app: &App,
    extent: Extent,
    stop: &AtomicBool,
) -> Result<Vec<Measured>> {
    for contender in contenders {
        say(&format!("starting {} as {}", app.image, contender.name));
        contender.start(ground, app)?;
    }
    let entry = |contender: &Contender| {
        let command = contender.command(&ground.image.name, &app.command(), true);
        Entry::new(&contender.name, command)
    };
    let loads: Vec<&Workload> = LOADS.iter().filter(|load| load.app == *app).collect();
    let mut all: Vec<Measured> = loads
        .iter()
        .map(|load| Measured {
            name: load.name.into(),
            title: load.title.into(),
            unit: if load.counts_bytes { "MiB" } else { "requests" }.into(),
            contenders: contenders.iter().map(entry).collect(),
        })
        .collect();
    for round in 1..=usize::from(extent.rounds) {
        for (load, measured) in loads.iter().zip(&mut all) {
            for offset in 0..contenders.len() {
                ensure!(!stop.load(Ordering::Relaxed), "stopped by a signal");
                let index = (offset + round) % contenders.len();
                let entry = &mut measured.contenders[index];
                let result = load_once(ground, &contenders[index], load, extent);
                if !tell(round, &measured.name, &measured.unit, entry, result) {
                    contenders[index].start_anew(ground, app)?;
                }
            }
        }
    }
    if *app == NGINX {
        all.push(run_processes(ground, contenders, app, extent.rounds, stop)?);
    }
    for contender in contenders {
        contender.take_down(ground)?;
    }
    Ok(all)
}

/// Runs processes beside the apps, one after the other.
fn run_processes(
    ground: &Ground,
    contenders: &[Contender],
    app: &App,
    rounds: u16,
    stop: &AtomicBool,
) -> Result<Measured> {
    let entry = |contender: &Contender| Entry::new(&contender.name, contender.exec().into());
    let mut measured = Measured {
        name: "exec".into(),
        title: "`exec` of `true` beside nginx, one after the other".into(),
        unit: "processes".into(),
        contenders: contenders.iter().map(entry).collect(),
    };
    for round in 1..=usize::from(rounds) {
        for offset in 0..contenders.len() {
            ensure!(!stop.load(Ordering::Relaxed), "stopped by a signal");
            let index = (offset + round) % contenders.len();
            let result = processes_once(ground, &contenders[index].exec().join(" "));
            let entry = &mut measured.contenders[index];
            if !tell(round, "exec", "processes", entry, result) {
                contenders[index].start_anew(ground, app)?;
            }
        }
    }
    Ok(measured)
}

fn processes_once(ground: &Ground, command: &str) -> Result<(Round, Vec<String>)> {
    // The first one warms up.
    let script = format!(
        "set -e; {command}; begin=$(date +%s%N)
        for i in $(seq {PROCESSES}); do {command}; done; echo $(($(date +%s%N) - begin))"
    );
    let nanoseconds: u64 = ground.place.sh(&script)?.trim().parse().context("odd figure")?;
    let (seconds, count) = (Duration::from_nanos(nanoseconds).as_secs_f64(), f64::from(PROCESSES));
    Ok((Round { rate: count / seconds, count, seconds, latency: None }, Vec::new()))
}

fn load_once(
    ground: &Ground,
    contender: &Contender,
    load: &Workload,
    extent: Extent,
) -> Result<(Round, Vec<String>)> {
    let address = format!("{}:{}", contender.address(), load.app.port);
    let (connections, seconds) = (extent.connections.to_string(), extent.seconds.to_string());
    let argv = [CLIENT, "load", load.asked, &address, &connections, &seconds];
    let output = ground.place.run(&argv, &[])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.code == 0, "{}", text.trim());
    let done: Load = serde_json::from_slice(&output.stdout).context("the client gave no JSON")?;
    if let Some(error) = done.first_error {
        anyhow::bail!("{} errors: {error}", done.errors);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let count = match load.counts_bytes {
        true => done.body_bytes as f64 / MIB,
        false => done.requests as f64,
    };
    ensure!(done.seconds > 0.0, "nothing was answered");
    let (seconds, latency) = (done.seconds, Some(done.latency));
    Ok((Round { rate: count / seconds, count, seconds, latency }, done.bodies_sha256))
}

/// Notes what came of a round; says whether it went well.
fn tell(
    round: usize,
    name: &str,
    unit: &str,
    entry: &mut Entry,
    result: Result<(Round, Vec<String>)>,
) -> bool {
    let went_well = result.is_ok();
    match result {
        Ok((done, bodies)) => {
            say(&format!("{round} {name} {}: {:.1} {unit}/s", entry.name, done.rate));
            entry.rounds.push(done);
            entry.bodies_sha256.extend(bodies);
        }
        Err(error) => {
            say(&format!("{round} {name} {}: {error:#}", entry.name));
            entry.failures.push(format!("round {round}: {error:#}"));
        }
    }
    went_well
}

/// Has the disk written and the image read, in a fresh domain or container each time.
///
/// # Errors
/// When dom0 does not answer.
pub fn run_disk(
    ground: &Ground,
    contenders: &[Contender],
    rounds: u16,
    stop: &AtomicBool,
) -> Result<Vec<Measured>> {
    let shell = ["sh", "-c", DISK_SCRIPT].map(str::to_owned);
    let entry = |contender: &Contender| {
        Entry::new(&contender.name, contender.command(&ground.image.name, &shell, false))
    };
    let mut all: Vec<Measured> = DISK
        .iter()
        .map(|(name, title, counts_pieces)| Measured {
            name: (*name).into(),
            title: (*title).into(),
            unit: if *counts_pieces { "writes" } else { "MiB" }.into(),
            contenders: contenders.iter().map(entry).collect(),
        })
        .collect();
    for round in 1..=usize::from(rounds) {
        for offset in 0..contenders.len() {
            ensure!(!stop.load(Ordering::Relaxed), "stopped by a signal");
            let index = (offset + round) % contenders.len();
            let contender = &contenders[index];
            let result = contender.run_disk(ground).and_then(|output| {
                let done = parse_dd(&output);
                ensure!(done.len() == DISK.len(), "dd told something else:\n{output}");
                Ok(done)
            });
            if result.is_err() {
                // It may be there, or not.
                let _ = contender.take_down(ground);
            }
            for (number, measured) in all.iter_mut().enumerate() {
                let done = result.as_ref().map(|done| done[number]);
                let done = done.map_err(|error| anyhow::anyhow!("{error:#}"));
                let done = done.map(|(bytes, seconds)| {
                    let count = match DISK[number].2 {
                        true => f64::from(SYNCED_WRITES),
                        false => bytes / MIB,
                    };
                    (Round { rate: count / seconds, count, seconds, latency: None }, Vec::new())
                });
                let (name, unit) = (measured.name.clone(), measured.unit.clone());
                tell(round, &name, &unit, &mut measured.contenders[index], done);
            }
        }
    }
    Ok(all)
}
