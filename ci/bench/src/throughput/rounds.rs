//! Measures in rounds: every contender runs every workload once in each round.

use super::contender::{disk_shell, run_disk as run_disk_once, start, start_again, take_down};
use super::report::{Entry, Measured, Round, Turn};
use super::workload::{DISK, EXEC, LOADS, NGINX, SYNCED_WRITES, Served, Workload, parse_dd};
use crate::command::Stop;
use crate::rounds::turns;
use crate::side::App;
use crate::testbed::Testbed;
use anyhow::{Context, Result, bail, ensure};
use lab::host::say;
use lab_client::measure::Load;
use std::net::SocketAddrV4;
use std::time::Duration;

const MIB: f64 = 1_048_576.0;
/// How many processes are run beside an app in each round.
const PROCESSES: u32 = 10;

/// How much to measure, with which contenders, and where.
#[derive(Debug)]
pub(crate) struct Extent<'a> {
    pub(crate) testbed: &'a Testbed<'a>,
    pub(crate) contenders: &'a [App],
    pub(crate) rounds: usize,
    /// The number of connections of a load.
    pub(crate) connections: u32,
    /// The length of a load in seconds.
    pub(crate) seconds: u32,
    pub(crate) stop: &'a Stop,
}

impl Extent<'_> {
    /// A workload that no contender has run; `command` returns the command that starts a contender.
    fn measured(
        &self,
        (name, title, unit): Workload,
        command: impl Fn(&App) -> Vec<String>,
    ) -> Measured {
        let entries = self.contenders.iter().map(|one| Entry::new(one.side.name(), command(one)));
        let (name, title, unit) = (name.into(), title.into(), unit.into());
        Measured { name, title, unit, contenders: entries.collect() }
    }

    /// Makes each contender do `once` in each round, which measures `all`. After a failed turn, `repair` prepares the
    /// contender again.
    fn measure(
        &self,
        all: &mut [Measured],
        once: impl Fn(&App) -> Result<Vec<Turn>>,
        repair: impl Fn(&App) -> Result<()>,
    ) -> Result<()> {
        for (round, index) in turns(1..=self.rounds, self.contenders.len()) {
            self.stop.check()?;
            let contender = &self.contenders[index];
            let result = once(contender).map_err(|error| format!("{error:#}"));
            for (number, measured) in all.iter_mut().enumerate() {
                measured.note(round, index, result.as_ref().map(|turns| &turns[number]));
            }
            if result.is_err() {
                repair(contender)?;
            }
        }
        Ok(())
    }
}

/// Loads an app that runs in all contenders at the same time. Also runs processes beside nginx.
pub(crate) fn run_loads(extent: &Extent<'_>, served: &Served) -> Result<Vec<Measured>> {
    let Extent { testbed, contenders, .. } = extent;
    for contender in *contenders {
        say(&format!("starting {} as {}", served.image, contender.side.name()));
        start(contender, testbed, served)?;
    }
    let command = |one: &App| one.command(&testbed.image.name, &served.command(), true);
    let start_again = |one: &App| start_again(one, testbed, served);
    let mut all = Vec::new();
    for (workload, _, asked) in LOADS.iter().filter(|load| load.1 == *served) {
        let mut measured = [extent.measured(*workload, command)];
        let once = |one: &App| {
            let address = SocketAddrV4::new(one.address, served.port);
            Ok(vec![load_once(extent, workload.2, asked, address)?])
        };
        extent.measure(&mut measured, once, start_again)?;
        all.extend(measured);
    }
    if *served == NGINX {
        let mut measured = [extent.measured(EXEC, |one| one.exec())];
        let once = |one: &App| Ok(vec![processes_once(testbed, &one.exec().join(" "))?]);
        extent.measure(&mut measured, once, start_again)?;
        all.extend(measured);
    }
    contenders.iter().try_for_each(|contender| take_down(contender, testbed))?;
    Ok(all)
}

fn processes_once(testbed: &Testbed<'_>, command: &str) -> Result<Turn> {
    // The first process warms up.
    let script = format!(
        "set -e; {command}; begin=$(date +%s%N)
        for i in $(seq {PROCESSES}); do {command}; done; echo $(($(date +%s%N) - begin))"
    );
    let nanoseconds: u64 =
        testbed.dom0.sh(&script)?.trim().parse().context("dom0 did not print a number")?;
    let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
    Ok((Round::new(f64::from(PROCESSES), seconds, None), Vec::new()))
}

fn load_once(extent: &Extent<'_>, unit: &str, asked: &str, address: SocketAddrV4) -> Result<Turn> {
    let address = address.to_string();
    let (connections, seconds) = (extent.connections.to_string(), extent.seconds.to_string());
    let args = ["load", asked, &address, &connections, &seconds];
    let done: Load = extent.testbed.ask_client(&args, &[])?;
    if let Some(error) = done.first_error {
        bail!("{} errors: {error}", done.errors);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let count = match unit {
        "MiB" => done.body_bytes as f64 / MIB,
        _ => done.requests as f64,
    };
    ensure!(done.seconds > 0.0, "the app answered no request");
    Ok((Round::new(count, done.seconds, Some(done.latency)), done.bodies_sha256))
}

/// Writes the disk and reads the image, in a fresh domain or container each time.
pub(crate) fn run_disk(extent: &Extent<'_>) -> Result<Vec<Measured>> {
    let testbed = extent.testbed;
    let command = |one: &App| one.command(&testbed.image.name, &disk_shell(), false);
    let mut all = DISK.map(|workload| extent.measured(workload, command));
    let once = |one: &App| {
        let output = run_disk_once(one, testbed)?;
        let done = parse_dd(&output);
        ensure!(done.len() == DISK.len(), "dd printed something unexpected:\n{output}");
        let turns = DISK.iter().zip(done).map(|((_, _, unit), (bytes, seconds))| {
            let count = if *unit == "writes" { SYNCED_WRITES.into() } else { bytes / MIB };
            (Round::new(count, seconds, None), Vec::new())
        });
        Ok(turns.collect())
    };
    // The app may exist or not.
    let take_down = |one: &App| take_down(one, testbed).or(Ok(()));
    extent.measure(&mut all, once, take_down)?;
    Ok(all.into())
}
