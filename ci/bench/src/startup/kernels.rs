//! Compares the guest kernel with Debian's, both as PVH with the same initramfs.

use super::xl::{MEMORY_MIB, debian_kernel, write_config};
use crate::dom0::Dom0;
use crate::statistics::Summary;
use crate::testbed::{CLIENT, FOLDER, Guest, Testbed};
use anyhow::{Context, Result, ensure};
use lab::cpio::Archive;
use lab::host::say;
use lab_client::boot::Boot;
use serde::{Deserialize, Serialize};

/// The boots of one kernel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Kernel {
    pub(crate) kernel: String,
    pub(crate) n: usize,
    pub(crate) guest_ms: Option<Summary>,
    pub(crate) seen_ms: Option<Summary>,
    pub(crate) samples_guest_ms: Vec<f64>,
    pub(crate) samples_seen_ms: Vec<f64>,
}

/// Boots each kernel `rounds` times, in turns: the guest kernel first, then Debian's.
pub(crate) fn compare(testbed: &Testbed<'_>, rounds: usize) -> Result<Vec<Kernel>> {
    let dom0 = testbed.dom0;
    let mut guest = Guest::of_probe(testbed)?;
    let names = [guest.kernel.clone(), debian_kernel(dom0)?];
    guest.ramdisk = format!("{FOLDER}/xl-boot/initrd");
    let initramfs = Archive::with_init(&["dev"], &testbed.client)?.finish()?;
    dom0.write(&guest.ramdisk, 0o644, &initramfs)?;
    (guest.kind, guest.memory_mib) = ("pvh".into(), MEMORY_MIB);
    let mut kernels = names.map(|kernel| Kernel { kernel, ..Kernel::default() });
    for round in 1..=rounds {
        for kernel in &mut kernels {
            guest.kernel.clone_from(&kernel.kernel);
            let name = &kernel.kernel;
            let Boot { guest_ms, seen_ms } = boot_once(&guest, dom0)
                .with_context(|| format!("cannot time the start of {name}"))?;
            say(&format!(
                "{round}/{rounds} {name} to init: {guest_ms:.0} ms on its clock, {seen_ms:.0} ms on dom0's"
            ));
            kernel.n += 1;
            kernel.samples_guest_ms.push(guest_ms);
            kernel.samples_seen_ms.push(seen_ms);
            kernel.guest_ms = Summary::of(&kernel.samples_guest_ms);
            kernel.seen_ms = Summary::of(&kernel.samples_seen_ms);
        }
    }
    Ok(kernels.into())
}

fn boot_once(guest: &Guest, dom0: &Dom0) -> Result<Boot> {
    let path = write_config(dom0, "xl-boot", guest, "")?;
    let script = format!(
        "xl create -q -p {path} >&2
trap 'xl destroy xl-boot 2>/dev/null || true' EXIT
sleep 1
{CLIENT} boot xl-boot \"$(xenstore-read /local/domain/$(xl domid xl-boot)/console/tty)\" 180"
    );
    let output = dom0.run(&["sh", "-euc", &script], &[])?;
    ensure!(output.code == 0, "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the client did not print JSON")
}
