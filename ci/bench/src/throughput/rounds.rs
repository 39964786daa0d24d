//! What is measured in rounds: every contender does every workload once in each.

use super::contender::Contender;
use super::report::{Entry, Measured, Round};
use super::workload::{DISK, LOADS, NGINX, SYNCED_WRITES, Served, Workload, parse_dd};
use crate::command::Stop;
use crate::rounds::turns;
use crate::testbed::Testbed;
use anyhow::{Context, Result, anyhow, bail, ensure};
use lab::host::say;
use lab_client::measure::Load;
use std::time::Duration;

const MIB: f64 = 1_048_576.0;
/// How many processes are run beside an app in a round.
const PROCESSES: u32 = 10;

/// How much is done, by whom, and where.
#[derive(Debug)]
pub(crate) struct Extent<'a> {
    pub(crate) testbed: &'a Testbed<'a>,
    pub(crate) contenders: &'a [Contender],
    pub(crate) rounds: usize,
    /// Connections of a load.
    pub(crate) connections: u32,
    /// Seconds of a load.
    pub(crate) seconds: u32,
    pub(crate) stop: &'a Stop,
}

impl Extent<'_> {
    /// A workload that none has done yet; `command` tells how a contender is started for it.
    fn measured(
        &self,
        name: &str,
        title: &str,
        unit: &str,
        command: impl Fn(&Contender) -> Vec<String>,
    ) -> Measured {
        let entries = self.contenders.iter().map(|one| Entry::new(one.name, command(one)));
        let (name, title, unit) = (name.into(), title.into(), unit.into());
        Measured { name, title, unit, contenders: entries.collect() }
    }

    /// Each turn, until a signal comes.
    fn turns(&self) -> impl Iterator<Item = Result<(usize, usize)>> {
        let turns = turns(1..=self.rounds, self.contenders.len());
        turns.map(|turn| self.stop.check().map(|()| turn))
    }
}

/// Loads an app, which runs as all contenders all the while.
pub(crate) fn run_loads(extent: &Extent<'_>, served: &Served) -> Result<Vec<Measured>> {
    let Extent { testbed, contenders, .. } = extent;
    for contender in *contenders {
        say(&format!("starting {} as {}", served.image, contender.name));
        contender.start(testbed, served)?;
    }
    let command = |one: &Contender| one.app.command(&testbed.image.name, &served.command(), true);
    let loads: Vec<&Workload> = LOADS.iter().filter(|load| load.served == *served).collect();
    let mut all: Vec<Measured> = loads
        .iter()
        .map(|load| extent.measured(load.name, load.title, load.unit, command))
        .collect();
    for round in 1..=extent.rounds {
        for (load, measured) in loads.iter().zip(&mut all) {
            for (_, index) in turns([round], contenders.len()) {
                extent.stop.check()?;
                let result = load_once(extent, &contenders[index], load);
                if !measured.note(round, index, result) {
                    contenders[index].start_again(testbed, served)?;
                }
            }
        }
    }
    if *served == NGINX {
        all.push(run_processes(extent, served)?);
    }
    for contender in *contenders {
        contender.take_down(testbed)?;
    }
    Ok(all)
}

/// Runs processes beside the apps, one after the other.
fn run_processes(extent: &Extent<'_>, served: &Served) -> Result<Measured> {
    let title = "`exec` of `true` beside nginx, one after the other";
    let mut measured = extent.measured("exec", title, "processes", |one| one.app.exec());
    for turn in extent.turns() {
        let (round, index) = turn?;
        let contender = &extent.contenders[index];
        let result = processes_once(extent.testbed, &contender.app.exec().join(" "));
        if !measured.note(round, index, result) {
            contender.start_again(extent.testbed, served)?;
        }
    }
    Ok(measured)
}

fn processes_once(testbed: &Testbed<'_>, command: &str) -> Result<(Round, Vec<String>)> {
    // The first one warms up.
    let script = format!(
        "set -e; {command}; begin=$(date +%s%N)
        for i in $(seq {PROCESSES}); do {command}; done; echo $(($(date +%s%N) - begin))"
    );
    let nanoseconds: u64 = testbed.dom0.sh(&script)?.trim().parse().context("odd figure")?;
    let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
    Ok((Round::new(f64::from(PROCESSES), seconds, None), Vec::new()))
}

fn load_once(
    extent: &Extent<'_>,
    contender: &Contender,
    load: &Workload,
) -> Result<(Round, Vec<String>)> {
    let address = contender.address(&load.served).to_string();
    let (connections, seconds) = (extent.connections.to_string(), extent.seconds.to_string());
    let args = ["load", load.asked, &address, &connections, &seconds];
    let done: Load = extent.testbed.ask_client(&args, &[])?;
    if let Some(error) = done.first_error {
        bail!("{} errors: {error}", done.errors);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let count = match load.unit {
        "MiB" => done.body_bytes as f64 / MIB,
        _ => done.requests as f64,
    };
    ensure!(done.seconds > 0.0, "nothing was answered");
    Ok((Round::new(count, done.seconds, Some(done.latency)), done.bodies_sha256))
}

/// Has the disk written and the image read, in a fresh domain or container each time.
pub(crate) fn run_disk(extent: &Extent<'_>) -> Result<Vec<Measured>> {
    let Extent { testbed, contenders, .. } = extent;
    let command = |one: &Contender| one.disk_command(testbed);
    let mut all: Vec<Measured> = DISK
        .iter()
        .map(|(name, title, unit)| extent.measured(name, title, unit, command))
        .collect();
    for turn in extent.turns() {
        let (round, index) = turn?;
        let contender = &contenders[index];
        let result = contender.run_disk(testbed).and_then(|output| {
            let done = parse_dd(&output);
            ensure!(done.len() == DISK.len(), "dd told something else:\n{output}");
            Ok(done)
        });
        if result.is_err() {
            // It may be there, or not.
            let _ = contender.take_down(testbed);
        }
        for (number, measured) in all.iter_mut().enumerate() {
            let round_of = |done: &Vec<(f64, f64)>| {
                let (bytes, seconds) = done[number];
                let pieces = (DISK[number].2 == "writes").then_some(f64::from(SYNCED_WRITES));
                (Round::new(pieces.unwrap_or(bytes / MIB), seconds, None), Vec::new())
            };
            let done = result.as_ref().map(round_of).map_err(|error| anyhow!("{error:#}"));
            measured.note(round, index, done);
        }
    }
    Ok(all)
}
