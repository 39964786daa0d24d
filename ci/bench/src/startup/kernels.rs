//! The guest kernel against Debian's, both as PVH with the same initramfs.

use crate::statistics::Summary;
use crate::testbed::{CLIENT, FOLDER, Running, Testbed};
use anyhow::{Context, Result, ensure};
use lab::cpio::Archive;
use lab::host::say;
use lab_client::boot::Boot;
use serde::{Deserialize, Serialize};

/// Enough for Debian's kernel.
const MEMORY_MIB: u32 = 256;

/// One kernel's boots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kernel {
    /// The file in dom0.
    pub(crate) kernel: String,
    /// Boots that are in the figures.
    pub(crate) n: usize,
    /// To the first program, on the guest's own clock.
    pub(crate) guest_ms: Option<Summary>,
    /// To the first program's line on the console, on dom0's clock, `xl unpause` included.
    pub(crate) seen_ms: Option<Summary>,
    /// The former in the order of the rounds.
    pub(crate) samples_guest_ms: Vec<f64>,
    /// The latter likewise.
    pub(crate) samples_seen_ms: Vec<f64>,
}

/// Boots each kernel `rounds` times, in turns: ours first, then Debian's.
pub(crate) fn compare(app: &Running, testbed: &Testbed, rounds: usize) -> Result<[Kernel; 2]> {
    let dom0 = &testbed.dom0;
    let debian = format!("/boot/vmlinuz-{}", dom0.sh("uname -r")?.trim());
    let initrd = format!("{FOLDER}/boot/initrd");
    dom0.write(&initrd, 0o644, &initramfs(&testbed.client)?)?;
    let kernels = [app.kernel.clone(), debian];
    let mut boots = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (kernel, boots) in kernels.iter().zip(&mut boots) {
            let boot = boot_once(kernel, &initrd, app, testbed)
                .with_context(|| format!("cannot time the start of {kernel}"))?;
            say(&format!(
                "{round}/{rounds} {kernel} to init: {:.0} ms on its clock, {:.0} ms on dom0's",
                boot.guest_ms, boot.seen_ms
            ));
            boots.push(boot);
        }
    }
    let summarize = |kernel: &String, boots: &[Boot]| {
        let guest: Vec<f64> = boots.iter().map(|boot| boot.guest_ms).collect();
        let seen: Vec<f64> = boots.iter().map(|boot| boot.seen_ms).collect();
        Kernel {
            kernel: kernel.clone(),
            n: boots.len(),
            guest_ms: Summary::of(&guest),
            seen_ms: Summary::of(&seen),
            samples_guest_ms: guest,
            samples_seen_ms: seen,
        }
    };
    Ok([summarize(&kernels[0], &boots[0]), summarize(&kernels[1], &boots[1])])
}

fn boot_once(kernel: &str, initrd: &str, app: &Running, testbed: &Testbed) -> Result<Boot> {
    let config = format!(
        "type = \"pvh\"
name = \"xl-boot\"
kernel = \"{kernel}\"
ramdisk = \"{initrd}\"
cmdline = \"{}\"
memory = {MEMORY_MIB}
vcpus = 1
",
        app.cmdline
    );
    let path = format!("{FOLDER}/boot/domain.cfg");
    testbed.dom0.write(&path, 0o644, config.as_bytes())?;
    let script = format!(
        "xl create -q -p {path} >&2
trap 'xl destroy xl-boot 2>/dev/null || true' EXIT
sleep 1
{CLIENT} boot xl-boot \"$(xenstore-read /local/domain/$(xl domid xl-boot)/console/tty)\" 180"
    );
    let output = testbed.dom0.run(&["sh", "-euc", &script], &[])?;
    ensure!(output.code == 0, "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the client gave no JSON")
}

/// An initramfs with the client as its first program.
fn initramfs(client: &[u8]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.add_directory("dev", 0o755)?;
    archive.add_character_device("dev/console", 0o600, (5, 1))?;
    archive.add_file("init", 0o755, client)?;
    archive.finish()
}
