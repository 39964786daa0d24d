//! Boots a kernel on a machine without Xen until it panics, and then reads the machine's memory.

use super::image::Image;
use crate::host::last_lines;
use crate::qmp::Qmp;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The message of a kernel that patches its code as Linux does.
pub(super) const SAID: &str = "SMP alternatives: this kernel's code is patched like Linux's";

/// How long a boot may take on a busy machine; on an idle one it takes some seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// A serial console, a reboot after a panic, and no timer check, which a late emulated timer would fail.
const PARAMETERS: &str = "earlyprintk=serial,ttyS0,115200,keep panic=-1 no_timer_check";

/// A processor that QEMU emulates, and boot parameters for it.
#[derive(Debug)]
pub struct Processor {
    /// How the kernel treats it, in a few words.
    pub name: &'static str,
    /// QEMU's name of the model.
    pub model: &'static str,
    /// The number of processors.
    pub vcpus: u8,
    /// The kernel's boot parameters.
    pub parameters: &'static str,
}

/// The kernel to boot, and a folder for files.
#[derive(Debug)]
pub struct Machine {
    /// The `vmlinux`.
    pub kernel: PathBuf,
    /// Folder for control sockets and consoles.
    pub folder: PathBuf,
}

/// The state of a kernel at the end of its boot.
#[derive(Debug)]
pub(super) struct Booted {
    /// The text, in the layout of [`Image::text`].
    pub(super) text: Vec<u8>,
    /// Whether the kernel reports that its shortcuts are off.
    pub(super) is_linux: bool,
}

impl Machine {
    /// Starts a boot in the background; its files begin with `name`.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub(super) fn start(&self, name: &str, processor: &Processor, more: &str) -> Result<Boot> {
        let file = |end: &str| self.folder.join(format!("{name}.{end}"));
        let (socket, console) = (file("qmp"), file("console"));
        for stale in [&socket, &console] {
            let _ = fs::remove_file(stale);
        }
        let errors = file("errors");
        let parameters = processor.parameters;
        let child = Command::new("qemu-system-x86_64")
            .args(["-machine", "q35", "-accel", "tcg"])
            .args(["-cpu", processor.model, "-smp", &processor.vcpus.to_string(), "-m", "128"])
            .args(["-display", "none", "-nodefaults", "-no-reboot", "-no-shutdown"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-append")
            .arg(format!("{PARAMETERS} {parameters} {more}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).context("cannot make a file for QEMU's errors")?)
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        Ok(Boot { child, socket, console, errors, memory: file("memory") })
    }
}

/// A running boot. Dropping it ends QEMU.
#[derive(Debug)]
pub(super) struct Boot {
    child: Child,
    socket: PathBuf,
    console: PathBuf,
    errors: PathBuf,
    memory: PathBuf,
}

impl Boot {
    /// Waits for the panic, and reads the text of `image`.
    ///
    /// # Errors
    /// The kernel does not panic in time, or QEMU fails.
    pub(super) fn finish(mut self, image: &Image) -> Result<Booted> {
        let mut qmp = self.wait_for_panic()?;
        let console = read_text(&self.console);
        let mut text = Vec::new();
        for section in &image.sections {
            let (address, size) = (section.physical_address, section.contents.len());
            let file = self.memory.to_string_lossy();
            let range = json!({ "val": address, "size": size, "filename": file });
            qmp.execute("pmemsave", &range)?;
            let contents =
                fs::read(&self.memory).context("cannot read the memory that QEMU saved")?;
            if contents.len() != size {
                bail!("QEMU saved {} of {size} bytes of {}", contents.len(), section.name);
            }
            text.extend(contents);
        }
        fs::remove_file(&self.memory).context("cannot remove the memory that QEMU saved")?;
        Ok(Booted { text, is_linux: console.contains(SAID) })
    }

    /// The kernel reboots after its panic, and QEMU then stops the machine.
    fn wait_for_panic(&mut self) -> Result<Qmp> {
        let start = Instant::now();
        let mut qmp = None;
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("QEMU ended ({status}): {}", read_text(&self.errors).trim());
            }
            if qmp.is_none() {
                qmp = Qmp::connect(&self.socket)?;
            }
            if let Some(mut connected) = qmp.take() {
                let status = connected.execute("query-status", &json!({}))?;
                if status["status"] == "shutdown" {
                    return self.expect_panic().map(|()| connected);
                }
                qmp = Some(connected);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the kernel has not panicked in {} s; {}", PATIENCE.as_secs(), self.last_words())
    }

    /// Fails unless the kernel has panicked: a triple fault also reboots the machine.
    fn expect_panic(&self) -> Result<()> {
        // See guest-kernel-config/reference: the kernel panics right after it has patched its code.
        if read_text(&self.console).contains("code is patched") {
            return Ok(());
        }
        bail!("the kernel did not finish patching its code; {}", self.last_words())
    }

    fn last_words(&self) -> String {
        let console = read_text(&self.console);
        format!(
            "its console, {}, ends with:\n{}",
            self.console.display(),
            last_lines(console.as_bytes(), 15)
        )
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

fn read_text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
