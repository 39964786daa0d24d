//! `ci/test`: everything that CI checks, in phases, with the time of each phase.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use lab::accelerator::Accelerator;
use lab::host::{find_program, install_missing, project_root, say};
use lab::instance::{Instance, accelerator, test_lab_name};
use lab::registry;
use lab::skips;
use lab::tally::{Failure, Skip, Tally};
use lab::xen_version::XenVersion;
use lab::xenstored::Xenstored;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Checks everything: format, lints, unit, golden and property tests, and the tests on nested Xen.
#[derive(Debug, Parser)]
#[command(name = "ci/test", bin_name = "ci/test")]
struct Cli {
    /// Xen to test on: 4.20 (Debian 13) or 4.17 (Debian 12)
    #[arg(long, default_value_t, env = "LAB_XEN")]
    xen: XenVersion,
    /// The xenstored of that Xen
    #[arg(long, value_enum, default_value_t, env = "LAB_XENSTORED")]
    xenstored: Xenstored,
    /// Also run the tests on nested Xen that take minutes each
    #[arg(long)]
    long: bool,
    /// Run only the checks that need no Xen
    #[arg(long)]
    no_lab: bool,
}

/// (program or file, package) for everything that the tests use besides the lab. A test whose program is missing would
/// be skipped, which must not happen in CI.
const TEST_PROGRAMS: &[(&str, &str)] = &[
    ("/usr/include/xen/xen.h", "libxen-dev"),
    ("cc", "gcc"),
    ("cpio", "cpio"),
    ("dumpe2fs", "e2fsprogs"),
    ("fsck.erofs", "erofs-utils"),
    ("ip", "iproute2"),
    ("losetup", "mount"),
    ("nft", "nftables"),
    ("python3", "python3-minimal"),
    ("setpriv", "util-linux"),
    ("umoci", "umoci"),
];

fn main() -> ExitCode {
    let cli = Cli::parse();
    match test(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn test(cli: &Cli) -> Result<bool> {
    let start = Instant::now();
    install_missing(TEST_PROGRAMS)?;
    let mut run = Run::default();

    if find_program("cargo-fmt").is_some() {
        run.phase("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    } else {
        run.skip("format", "rustfmt is not installed");
    }
    if find_program("cargo-clippy").is_some() {
        let words = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run.phase("lints", &mut cargo(&words))?;
    } else {
        run.skip("lints", "clippy is not installed (Debian 12 has none for its newer compiler)");
    }
    let words =
        ["test", "--workspace", "--exclude", "tests", "--no-fail-fast", "--", "--show-output"];
    run.phase("unit, golden and property tests", &mut cargo(&words))?;
    run.judge_skips();

    if cli.no_lab {
        run.skip("tests on nested Xen", "--no-lab");
    } else {
        with_lab(&mut run, cli)?;
    }
    Ok(run.end(start))
}

/// Runs the phases that need the guest kernel, QEMU and the lab.
fn with_lab(run: &mut Run, cli: &Cli) -> Result<()> {
    // First, because if no kernel is cached, this builds two in little more than the time for one.
    let compare = project_root().join("ci/compare-patched-text");
    run.phase("guest kernel's patched code against Linux's own", &mut Command::new(compare))?;
    if !run.phase("build", &mut Command::new(project_root().join("ci/build")))? {
        run.skip("tests on nested Xen", "the build failed");
        return Ok(());
    }
    let registry_ran = registry::runs()?;
    // Once for all tests; otherwise each of them would fail for the same reason.
    if run.phase("images", &mut registry::starter())? {
        nested(run, cli)?;
    } else {
        run.skip("tests on nested Xen", "their images cannot be built or served");
    }
    if !registry_ran {
        registry::stop()?;
    }
    Ok(())
}

/// Runs the tests on nested Xen.
///
/// QEMU's emulation of nested virtualization sometimes starts a PVH guest with the hypervisor's own registers, and Xen
/// reports the triple fault that kills the guest. So in an emulated Xen, if at most as many tests failed as guests died
/// this way, the failed tests run a second time, and that result counts. No other failure is tolerated.
fn nested(run: &mut Run, cli: &Cli) -> Result<()> {
    let name = format!("tests on Xen {} with {}", cli.xen, cli.xenstored.program());
    let failed_before = run.tally.failed;
    let before = run.tally.failures.len();
    let triple_faults = nested_once(run, cli, &name, &[])?;
    let failures: Vec<String> =
        run.tally.failures[before..].iter().map(|failure| failure.test.clone()).collect();
    // A test program that ended before its last line has not run all its tests.
    let all_ran = run.tally.failed - failed_before == u32::try_from(failures.len())?;
    let is_emulated = matches!(accelerator()?, Accelerator::Emulation(_));
    if !failures.is_empty() && all_ran && failures.len() <= triple_faults && is_emulated {
        run.failed.retain(|phase| *phase != name);
        run.tally.failed = failed_before;
        run.tally.failures.truncate(before);
        let again = format!("{name}, again ({triple_faults} triple faults in an emulated Xen)");
        nested_once(run, cli, &again, &failures)?;
    }
    Ok(())
}

/// Runs these tests on nested Xen, or all if none is named. Returns how many guests died of a triple fault.
fn nested_once(run: &mut Run, cli: &Cli, phase: &str, names: &[String]) -> Result<usize> {
    let words = ["test", "--package", "tests", "--no-fail-fast", "--", "--test-threads=1"];
    let mut command = cargo(&words);
    command.env("LAB_XEN", cli.xen.to_string()).env("LAB_XENSTORED", cli.xenstored.to_string());
    if cli.long {
        command.arg("--include-ignored");
    }
    if !names.is_empty() {
        command.arg("--exact").args(names);
    }
    run.phase(phase, &mut command)?;
    // Ends the lab. So a failing test can be examined with `ci/lab shell --name tests-4-20` only while it runs.
    let Some(lab) = Instance::find(&test_lab_name(cli.xen))? else { return Ok(0) };
    let triple_faults = lab.triple_faults();
    lab.down()?;
    Ok(triple_faults)
}

/// The results so far.
#[derive(Default)]
struct Run {
    tally: Tally,
    summary: Vec<String>,
    failed: Vec<String>,
    /// A line for each skipped test of the host.
    skips: Vec<String>,
}

impl Run {
    /// Runs one phase and passes its output through. Later phases run whether it passes or not.
    fn phase(&mut self, name: &str, command: &mut Command) -> Result<bool> {
        println!("\n== {name}");
        let start = Instant::now();
        let mut child = command
            .current_dir(project_root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        let mut reader = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            std::io::stdout().write_all(&line)?;
            self.tally.add_line(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let passed = child.wait()?.success();
        let seconds = start.elapsed().as_secs();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!("== {name}: {verdict}, {seconds} s");
        self.summary.push(format!("{seconds:>6} s  {verdict:<7} {name}"));
        if !passed {
            self.failed.push(name.to_owned());
        }
        Ok(passed)
    }

    /// Lists the tests that were skipped so far. An unexpected skip counts as a failure.
    fn judge_skips(&mut self) {
        let is_root = rustix::process::geteuid().is_root();
        for Skip { test, line } in std::mem::take(&mut self.tally.skipped) {
            let why = skips::reason(&line, is_root);
            let verdict = why.unwrap_or("NOT EXPECTED; see ci/src/skips.rs");
            let test = if test.is_empty() { String::new() } else { format!("{test}: ") };
            self.skips.push(format!("{test}{line} ({verdict})"));
            if why.is_none() {
                self.failed.push(format!("{test}{line}"));
            }
        }
    }

    /// Prints all results, with the time since `start`. Returns whether nothing failed.
    fn end(&self, start: Instant) -> bool {
        println!("\n{}", self.skips.join("\n"));
        println!("\n{}", self.summary.join("\n"));
        for Failure { test, said } in &self.tally.failures {
            println!("\n{test} FAILED:\n{}", said.join("\n"));
        }
        let Tally { passed, failed, ignored, .. } = &self.tally;
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        let skipped = self.skips.len();
        println!(
            "\n{passed} passed, {skipped} of them skipped, {failed} failed, {ignored} ignored in \
             {minutes:.1} minutes"
        );
        for phase in &self.failed {
            println!("FAILED: {phase}");
        }
        self.failed.is_empty()
    }

    fn skip(&mut self, name: &str, reason: &str) {
        println!("\n== {name}: skipped: {reason}");
        self.summary.push(format!("{:>6}    {:<7} {name}: {reason}", "", "skipped"));
    }
}

fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words);
    command
}
