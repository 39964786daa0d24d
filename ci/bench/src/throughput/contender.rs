//! The contenders: domains of either type, and a container of crun.

use super::workload::{DISK_SCRIPT, Served, with_command};
use crate::side::{App, Side};
use crate::testbed::{Testbed, remove_apps};
use anyhow::{Result, ensure};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The prefix of all names in this benchmark.
const PREFIX: &str = "throughput";
/// The longest that an app may take to start, in seconds.
const PATIENCE_S: u32 = 120;
/// The contenders' names, in the order of the results.
pub(crate) const NAMES: [&str; 3] = ["launch-pvh", "launch-pv", "crun"];

/// The app of a contender; `memory_mib` is for a domain.
pub(crate) fn app(name: &str, memory_mib: u32) -> App {
    let side = name.strip_prefix("launch-").map(|kind| Side::domain(kind, memory_mib));
    let address = match name {
        "launch-pv" => Ipv4Addr::new(10, 107, 200, 1),
        "launch-pvh" => Ipv4Addr::new(10, 107, 200, 2),
        _ => Ipv4Addr::new(10, 112, 200, 3),
    };
    let (name, veth) = (format!("{PREFIX}-{name}"), format!("v-{PREFIX}"));
    App { side: side.unwrap_or_else(Side::crun), name, address, veth }
}

/// Starts a serving app, and waits until it answers.
pub(crate) fn start(app: &App, testbed: &Testbed<'_>, served: &Served) -> Result<()> {
    let args = served.command();
    app.prepare(testbed, &with_command(&testbed.image.config, &args))?;
    let address = SocketAddrV4::new(app.address, served.port);
    let command = app.command(&testbed.image.name, &args, true);
    let measure = testbed.start(served.question, address, PATIENCE_S, &command)?;
    let has_answered = measure.first_answer_ms.is_some();
    ensure!(has_answered, "{} does not answer: {}", app.name, measure.why());
    Ok(())
}

/// Removes an app, if it exists, and starts it again: an app that died (as emulated guests do) must not make all later
/// rounds fail.
pub(crate) fn start_again(app: &App, testbed: &Testbed<'_>, served: &Served) -> Result<()> {
    let _ = take_down(app, testbed);
    start(app, testbed, served)
}

/// Runs the disk's workload and returns its output.
pub(crate) fn run_disk(app: &App, testbed: &Testbed<'_>) -> Result<String> {
    app.prepare(testbed, &with_command(&testbed.image.config, &disk_shell()))?;
    let command = app.command(&testbed.image.name, &disk_shell(), false);
    let argv: Vec<&str> = command.iter().map(String::as_str).collect();
    let output = testbed.dom0.run(&argv, &[])?;
    // `launch` shows the console, which has both streams; crun separates them.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(output.code == 0, "{} ended with exit code {}: {text}", app.name, output.code);
    take_down(app, testbed)?;
    Ok(text)
}

/// Removes an app.
pub(crate) fn take_down(app: &App, testbed: &Testbed<'_>) -> Result<()> {
    testbed.dom0.sh(&app.take_down()).map(drop)
}

/// The shell command that runs the disk's workload instead of the app.
pub(crate) fn disk_shell() -> [String; 3] {
    ["sh", "-c", DISK_SCRIPT.trim_end()].map(str::to_owned)
}

/// A shell script that removes what is left.
pub(crate) fn take_down_all() -> String {
    format!("{}\ncrun delete -f {PREFIX}-crun 2>/dev/null", remove_apps(&format!("^{PREFIX}-")))
}
