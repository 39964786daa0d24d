//! A machine without Xen that boots a kernel until it panics, and whose memory is then read.

use super::image::Image;
use crate::host::last_lines;
use crate::qmp::Qmp;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a kernel says that patches its code as Linux does.
pub(super) const SAID: &str = "SMP alternatives: this kernel's code is patched like Linux's";

/// How long a boot may take on a busy machine; a quiet one needs some seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// A serial console, a reboot after a panic, and no check that takes a late emulated timer for a broken one.
const PARAMETERS: &str = "earlyprintk=serial,ttyS0,115200,keep panic=-1 no_timer_check";

/// A processor, as QEMU emulates it and as the kernel is to take it.
#[derive(Debug)]
pub struct Processor {
    /// What the kernel makes of it, in a few words.
    pub name: &'static str,
    /// QEMU's name of the model.
    pub model: &'static str,
    /// How many of them.
    pub vcpus: u8,
    /// Boot parameters of the kernel.
    pub parameters: &'static str,
}

/// What is booted, and where its files go.
#[derive(Debug)]
pub struct Machine {
    /// The `vmlinux`.
    pub kernel: PathBuf,
    /// Folder for control sockets and consoles.
    pub folder: PathBuf,
}

/// What a kernel was at the end of its boot.
#[derive(Debug)]
pub(super) struct Booted {
    /// As [`Image::text`] lays it out.
    pub(super) text: Vec<u8>,
    /// Whether it says that its shortcuts are off.
    pub(super) is_linux: bool,
}

impl Machine {
    /// Starts a boot in the background; its files begin with `name`.
    ///
    /// # Errors
    /// When QEMU cannot be started.
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

/// A boot that goes on. QEMU ends with it.
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
    /// When there is no panic in time, or QEMU fails.
    pub(super) fn finish(mut self, image: &Image) -> Result<Booted> {
        let mut qmp = self.wait_for_panic()?;
        let console = read_text(&self.console);
        let mut text = Vec::new();
        for section in &image.sections {
            let (address, size) = (section.physical_address, section.contents.len());
            let file = self.memory.to_string_lossy();
            let range = json!({ "val": address, "size": size, "filename": file });
            qmp.execute("pmemsave", &range)?;
            let contents = fs::read(&self.memory).context("cannot read what QEMU saved")?;
            if contents.len() != size {
                bail!("QEMU saved {} of {size} bytes of {}", contents.len(), section.name);
            }
            text.extend(contents);
        }
        fs::remove_file(&self.memory).context("cannot remove what QEMU saved")?;
        Ok(Booted { text, is_linux: console.contains(SAID) })
    }

    /// The kernel ends with a reboot, at which QEMU stops the machine.
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
        bail!("no panic in {} s; {}", PATIENCE.as_secs(), self.last_words())
    }

    /// A triple fault reboots the machine too.
    fn expect_panic(&self) -> Result<()> {
        // See guest-kernel-config/reference: the kernel does so right after it has patched its code.
        if read_text(&self.console).contains("code is patched") {
            return Ok(());
        }
        bail!("the kernel did not come to the end of patching its code; {}", self.last_words())
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
