//! The snapshot of a booted dom0: made once, then loaded many times.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::accelerator::Accelerator;
use crate::cache::{Key, find_or_make, make_private_folder};
use crate::cargo::{Linking, build};
use crate::dom0::Dom0;
use crate::dom0_files::{self, OwnFile};
use crate::host::{find_program, run_quietly, say, with_progress};
use crate::qemu::{Machine, Setup, console_tail, dom0_options, xen_options};
use crate::session::{Address, Session};
use crate::xen_version::XenVersion;
use lab_agent::frame::Start;
use lab_agent::serve::TOKEN_FILE;

/// The sources of the agent. They identify it instead of its bytes, because two builds of the same sources can differ,
/// and a new snapshot takes a minute.
const AGENT_SOURCES: [&str; 4] = [
    include_str!("../agent/src/frame.rs"),
    include_str!("../agent/src/main.rs"),
    include_str!("../agent/src/pseudo_terminal.rs"),
    include_str!("../agent/src/serve.rs"),
];

/// Finds or makes the folder with `disk.img`, `xen`, `vmlinuz`, `initrd`, `token` and `state`.
///
/// # Errors
/// A step failed; for a failed boot the error has the end of its console log.
pub fn find_or_make_snapshot(
    version: XenVersion,
    setup: &Setup,
    accelerator: &Accelerator,
) -> Result<PathBuf> {
    let dom0 = Dom0::find_or_make(version, setup.extra)?;
    let own_files = dom0_files::of(setup.extra);
    let qemu = run_quietly(Command::new("qemu-system-x86_64").arg("--version"))?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
    let key = dom0
        .key
        .clone()
        .with("own files", format!("{own_files:?}"))
        .with("agent", AGENT_SOURCES.concat())
        .with("qemu", qemu)
        .with("cpu", cpu)
        .with("machine", accelerator.qemu_options(setup.clock).join(" "))
        .with("memory", setup.size.memory_mib.to_string())
        .with("xen options", xen_options(&setup.size))
        .with("dom0 options", dom0_options(setup));
    find_or_make("snapshots", &key, |folder| {
        let agent = find_or_build_agent()?;
        prepare(&dom0, own_files, &agent, folder)?;
        let text = format!(
            "booting Xen {version} and dom0 once ({accelerator}), which takes about a minute"
        );
        with_progress(&text, || {
            let first = boot_and_save(folder, setup, accelerator);
            // With QEMU 7.2 it was seen twice that QEMU dies while it saves, without a message.
            let Err(error) = &first else { return first };
            if qemu_runs(folder) {
                return first;
            }
            say(&format!("QEMU has died ({error:#}); trying again"));
            prepare(&dom0, own_files, &agent, folder)?;
            boot_and_save(folder, setup, accelerator)
        })
    })
}

/// The agent as a static program, because dom0's C library may differ from the host's.
fn find_or_build_agent() -> Result<PathBuf> {
    let key = Key::default().with("sources", AGENT_SOURCES.concat());
    let folder = find_or_make("agents", &key, |folder| {
        say("building the lab's agent");
        let built = build("lab-agent", "lab-agent", Linking::SmallStatic)?;
        fs::copy(&built, folder.join("lab-agent")).context("cannot copy the agent")?;
        Ok(())
    })?;
    Ok(folder.join("lab-agent"))
}

/// Copies the boot files, and puts the lab's own files into a copy of the root disk.
fn prepare(dom0: &Dom0, own_files: &[OwnFile], agent: &Path, folder: &Path) -> Result<()> {
    for name in ["xen", "vmlinuz", "initrd"] {
        let _ = fs::remove_file(folder.join(name));
        fs::hard_link(dom0.folder.join(name), folder.join(name))
            .with_context(|| format!("cannot link {name}"))?;
    }
    let disk = folder.join("disk.img");
    run_quietly(
        Command::new("cp").arg("--sparse=always").args([&dom0.folder.join("disk.img"), &disk]),
    )
    .context("cannot copy dom0's root disk")?;
    let token = random_token()?;
    fs::write(folder.join("token"), &token)?;
    // debugfs writes into the disk without mounting it, so it needs no root.
    let mut commands = write_command(agent, "/usr/sbin/lab-agent", "0100755");
    commands += &write_command(&folder.join("token"), TOKEN_FILE, "0100600");
    for (number, file) in own_files.iter().enumerate() {
        let from = folder.join(format!("own.{number}"));
        fs::write(&from, file.text)?;
        commands += &write_command(&from, file.path, file.mode);
    }
    let script = folder.join("debugfs");
    fs::write(&script, commands)?;
    let debugfs = find_program("debugfs").context("debugfs is missing: install e2fsprogs")?;
    let mut command = Command::new(debugfs);
    run_quietly(command.arg("-w").arg("-f").args([&script, &disk]))
        .context("cannot write to dom0's root disk")?;
    Ok(())
}

/// debugfs's commands that put root's file at `to` and replace an existing file.
fn write_command(from: &Path, to: &str, mode: &str) -> String {
    let folder = to.rsplit_once('/').map_or("/", |(folder, _)| folder);
    format!(
        "mkdir {folder}\nrm {to}\nwrite \"{}\" {to}\nset_inode_field {to} mode {mode}\n\
         set_inode_field {to} uid 0\nset_inode_field {to} gid 0\n",
        from.display()
    )
}

fn boot_and_save(folder: &Path, setup: &Setup, accelerator: &Accelerator) -> Result<()> {
    let share = folder.join("share");
    let machine = Machine { made: folder, own: folder, share: &share, setup: *setup, accelerator };
    make_private_folder(&share)?;
    make_private_folder(&machine.stage())?;
    let mut qemu = machine.start(false)?;
    let result = qemu.forward_agent().and_then(|port| {
        let token = fs::read_to_string(folder.join("token"))?;
        wait_for_agent(&Address { port, token }, folder, accelerator.boot_timeout())?;
        qemu.save(&folder.join("state"), Duration::from_secs(120))
    });
    result.and(qemu.quit()).with_context(|| console_tail(folder))
}

/// Waits until dom0 runs commands, and loads Xen's tools into its page cache.
fn wait_for_agent(address: &Address, folder: &Path, timeout: Duration) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let warm_up = "xl info && xl list && xenstore-ls / && sync";
    loop {
        let argv = ["sh", "-c", warm_up].map(String::from).into();
        let start = Start { argv, ..Start::default() };
        let error = match Session::start(address, start, Duration::from_secs(5)) {
            Ok(session) => {
                let output = session.collect(&[], Duration::from_secs(60))?;
                if output.code == 0 {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                anyhow::bail!("dom0 is up, but xl info or xl list failed there:\n{text}");
            }
            Err(error) => error,
        };
        if !qemu_runs(folder) {
            anyhow::bail!("QEMU ended while dom0 booted");
        }
        if Instant::now() > deadline {
            let limit = timeout.as_secs();
            return Err(error).context(format!("dom0 was not ready after {limit} s"));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn qemu_runs(folder: &Path) -> bool {
    // QEMU removes the file when it ends normally.
    let pid = fs::read_to_string(folder.join("qemu.pid")).unwrap_or_default();
    !pid.is_empty() && Path::new("/proc").join(pid.trim()).exists()
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    let file = fs::File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    std::io::Read::read_exact(&mut &file, &mut bytes).context("cannot read /dev/urandom")?;
    Ok(hex::encode(bytes))
}
