//! A QEMU that runs Xen: its command line, its start, its control socket.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::accelerator::Accelerator;
use crate::clock::Clock;
use crate::dom0::Extra;
use crate::dom0_files::INIT;
use crate::host::{last_lines, run_quietly};
use crate::qmp::Qmp;
use crate::xenstored::Xenstored;
use lab_agent::frame::AGENT_PORT;

/// The memory and processors of the machine and of dom0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Memory of the whole machine: Xen, dom0 and all guests.
    pub memory_mib: u32,
    /// Memory of dom0.
    #[serde(default = "default_dom0_memory_mib")]
    pub dom0_memory_mib: u32,
    /// Virtual processors of dom0; the machine has two processors.
    #[serde(default = "default_dom0_vcpus")]
    pub dom0_vcpus: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            memory_mib: 4096,
            dom0_memory_mib: default_dom0_memory_mib(),
            dom0_vcpus: default_dom0_vcpus(),
        }
    }
}

fn default_dom0_memory_mib() -> u32 {
    1536
}

fn default_dom0_vcpus() -> u32 {
    1
}

/// The machine of a lab, the same for the boot and for every load of its snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Additional software in dom0. Older labs lack this field and have none.
    #[serde(default)]
    pub extra: Option<Extra>,
    /// Its memory and processors.
    #[serde(flatten)]
    pub size: Size,
    /// The source of its time.
    #[serde(default)]
    pub clock: Clock,
    /// The xenstored in dom0.
    #[serde(default)]
    pub xenstored: Xenstored,
}

/// Xen's own options. Dom0 has a fixed size. Xen does not scrub memory at boot, because QEMU would then have to
/// allocate all of it. The grant limits also apply to dom0, and hundreds of guests need more than the default. Xen logs
/// guests' errors for [`triple_faults`].
#[must_use]
pub fn xen_options(size: &Size) -> String {
    let Size { dom0_memory_mib: mib, dom0_vcpus: vcpus, .. } = size;
    format!(
        "dom0_mem={mib}M,max:{mib}M dom0_max_vcpus={vcpus} console=com1 com1=115200 \
    loglvl=warning guest_loglvl=error bootscrub=0 gnttab_max_frames=256 gnttab_max_maptrack_frames=8192"
    )
}

/// Dom0's kernel command line. The script that starts xenstored reads the last word.
#[must_use]
pub fn dom0_options(setup: &Setup) -> String {
    let init = match setup.extra {
        Some(Extra::Systemd) => String::new(),
        Some(Extra::Containers) | None => format!(" init={INIT}"),
    };
    format!(
        "root=/dev/vda ro fastboot console=hvc0{init} net.ifnames=0 quiet lab.xenstored={}",
        setup.xenstored.program()
    )
}

/// The options of a QEMU.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Folder with `disk.img`, `xen`, `vmlinuz`, `initrd` (and `state`).
    pub made: &'a Path,
    /// Folder for this QEMU's own files.
    pub own: &'a Path,
    /// Host folder that dom0 sees at /share.
    pub share: &'a Path,
    /// Its hardware and software.
    pub setup: Setup,
    /// How its processor runs.
    pub accelerator: &'a Accelerator,
}

impl Machine<'_> {
    /// The folder that passes the project's build to dom0.
    #[must_use]
    pub fn stage(&self) -> PathBuf {
        self.own.join("stage")
    }

    fn arguments(&self, load: bool) -> Vec<String> {
        let in_made = |name: &str| comma_escaped(&self.made.join(name));
        let in_own = |name: &str| comma_escaped(&self.own.join(name));
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).into()));
        add(&self.accelerator.qemu_options(self.setup.clock));
        add(&["-smp", "2", "-m", &self.setup.size.memory_mib.to_string()]);
        add(&["-display", "none", "-nodefaults", "-no-reboot", "-daemonize"]);
        add(&[
            "-kernel",
            &self.made.join("xen").to_string_lossy(),
            "-append",
            &xen_options(&self.setup.size),
        ]);
        let dom0_options = dom0_options(&self.setup);
        add(&["-initrd", &format!("{} {dom0_options},{}", in_made("vmlinuz"), in_made("initrd"))]);
        // The boot writes to the disk of the snapshot. A lab writes to a layer that disappears with QEMU, because all
        // labs share the disk.
        let (disk, layer) = (in_made("disk.img"), if load { "on" } else { "off" });
        add(&["-drive", &format!("file={disk},if=none,id=disk,format=raw,snapshot={layer}")]);
        add(&["-device", "virtio-blk-pci,drive=disk"]);
        add(&["-serial", &format!("file:{}", in_own("console.log"))]);
        for (tag, path) in [("share", comma_escaped(self.share)), ("stage", in_own("stage"))] {
            add(&["-fsdev", &format!("local,id={tag},path={path},security_model=none")]);
            add(&["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
        }
        add(&["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
        add(&["-qmp", &format!("unix:{},server=on,wait=off", in_own("qmp.sock"))]);
        add(&["-pidfile", &self.own.join("qemu.pid").to_string_lossy()]);
        arguments
    }

    /// Starts QEMU in the background: from the snapshot if `load` is set, otherwise from power-on.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn start(&self, load: bool) -> Result<Qemu> {
        for stale in ["qmp.sock", "qemu.pid", "console.log"] {
            let _ = fs::remove_file(self.own.join(stale));
        }
        let mut command = Command::new("qemu-system-x86_64");
        command.args(self.arguments(load));
        if load {
            let state = self.made.join("state");
            let quoted = state.to_string_lossy().replace('\'', "'\\''");
            command.arg("-incoming").arg(format!("exec:cat '{quoted}'"));
        }
        run_quietly(&mut command).context("cannot start QEMU")?;
        Qemu::find(self.own)?.context("QEMU ended immediately")
    }
}

/// Searches QEMU's list of connections. Each line has `TCP[HOST_FORWARD]`, a number, then address and port on this
/// machine and in dom0.
fn is_forwarded(list: &str, protocol: &str, host: u16, dom0: u16) -> bool {
    let kind = format!("{}[HOST_FORWARD]", protocol.to_uppercase());
    let wanted = (Some(host.to_string()), Some(dom0.to_string()));
    list.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |index: usize| words.get(index).map(|word| (*word).to_owned());
        words.first() == Some(&kind.as_str()) && (word(3), word(5)) == wanted
    })
}

/// Doubles commas, because QEMU splits options at single ones.
fn comma_escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// A QEMU that runs in the background.
#[derive(Debug)]
pub struct Qemu {
    own: PathBuf,
    qmp: Qmp,
}

impl Qemu {
    /// The QEMU with its files in `own`, if it runs.
    ///
    /// # Errors
    /// QEMU runs but does not answer.
    pub fn find(own: &Path) -> Result<Option<Self>> {
        let qmp = Qmp::connect(&own.join("qmp.sock"))?;
        Ok(qmp.map(|qmp| Self { own: own.to_path_buf(), qmp }))
    }

    /// Forwards a port of this machine's loopback to a port of dom0, unless that is already done.
    ///
    /// # Errors
    /// The port is in use.
    pub fn forward(&mut self, protocol: &str, host: u16, dom0: u16) -> Result<()> {
        if is_forwarded(&self.qmp.execute_human("info usernet")?, protocol, host, dom0) {
            return Ok(());
        }
        let rule = format!("hostfwd_add net {protocol}:127.0.0.1:{host}-:{dom0}");
        match self.qmp.execute_human(&rule)?.trim() {
            "" => Ok(()),
            text => bail!("cannot forward port {host} of this machine: {text}"),
        }
    }

    /// Forwards a free port to the agent and returns it.
    ///
    /// # Errors
    /// No free port could be forwarded.
    pub fn forward_agent(&mut self) -> Result<u16> {
        let mut last = None;
        for _ in 0..10 {
            // Another process may take the port before QEMU binds it; then try the next one.
            let probe =
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
            let port = probe.local_addr()?.port();
            drop(probe);
            match self.forward("tcp", port, AGENT_PORT) {
                Ok(()) => return Ok(port),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there is no free port")?)
    }

    /// Lets the loaded machine run.
    ///
    /// # Errors
    /// The snapshot cannot be loaded.
    pub fn wait_loaded_and_run(&mut self, timeout: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let status = self.qmp.execute("query-status", &json!({}))?;
            match status["status"].as_str() {
                Some("inmigrate") if start.elapsed() < timeout => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Some("inmigrate") => bail!("the snapshot did not load in {} s", timeout.as_secs()),
                _ => break,
            }
        }
        self.qmp.execute("cont", &json!({})).map(drop)
    }

    /// Lets the machine restart when it resets itself. Otherwise QEMU ends at a reset, as it should if a boot fails.
    ///
    /// # Errors
    /// QEMU refuses.
    pub fn restart_at_reset(&mut self) -> Result<()> {
        self.qmp.execute("set-action", &json!({ "reboot": "reset" })).map(drop)
    }

    /// Stops the machine and writes its state, except the disk, to `state`.
    ///
    /// # Errors
    /// QEMU cannot write the state.
    pub fn save(&mut self, state: &Path, timeout: Duration) -> Result<()> {
        self.qmp.execute("stop", &json!({}))?;
        let unlimited = json!({ "max-bandwidth": 1_u64 << 40 });
        self.qmp.execute("migrate-set-parameters", &unlimited)?;
        let quoted = state.to_string_lossy().replace('\'', "'\\''");
        self.qmp.execute("migrate", &json!({ "uri": format!("exec:cat >'{quoted}'") }))?;
        let start = Instant::now();
        loop {
            let progress = self.qmp.execute("query-migrate", &json!({}))?;
            match progress["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    bail!("QEMU cannot save its state: {}", progress["error-desc"])
                }
                _ if start.elapsed() > timeout => bail!("QEMU's state takes too long to save"),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Ends QEMU and waits for its end.
    ///
    /// # Errors
    /// QEMU does not end.
    pub fn quit(mut self) -> Result<()> {
        let pid = fs::read_to_string(self.own.join("qemu.pid")).unwrap_or_default();
        self.qmp.execute("quit", &json!({}))?;
        let process = Path::new("/proc").join(pid.trim());
        for _ in 0..600 {
            if pid.is_empty() || !process.exists() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("QEMU (process {}) does not end", pid.trim())
    }
}

/// The number of guests that died of a triple fault, according to Xen's console log in this lab's folder.
#[must_use]
pub fn triple_faults(own: &Path) -> usize {
    let log = fs::read(own.join("console.log")).unwrap_or_default();
    String::from_utf8_lossy(&log).lines().filter(|line| line.contains("Triple fault")).count()
}

/// The end of the console log, for a message about a failed boot.
#[must_use]
pub fn console_tail(own: &Path) -> String {
    let path = own.join("console.log");
    match fs::read(&path) {
        Ok(text) => format!("{}:\n{}", path.display(), last_lines(&text, 40)),
        Err(_) => "there is no console log".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_folder_name_does_not_split_an_option() {
        let machine = Machine {
            made: Path::new("/cache/a,b"),
            own: Path::new("/own"),
            share: Path::new("/share"),
            setup: Setup::default(),
            accelerator: &Accelerator::Kvm,
        };
        let arguments = machine.arguments(true);
        assert!(arguments.iter().any(|word| word.starts_with("file=/cache/a,,b/disk.img,if=")));
        assert!(arguments.iter().any(|word| word.starts_with("/cache/a,,b/vmlinuz root=")));
    }

    #[test]
    fn a_forward_that_is_there_is_seen() {
        let list = "Hub -1 (net):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
                    TCP[HOST_FORWARD]  12       127.0.0.1  8080       10.0.2.15    80     0     0\n";
        assert!(is_forwarded(list, "tcp", 8080, 80));
        assert!(!is_forwarded(list, "tcp", 8080, 81));
        assert!(!is_forwarded(list, "udp", 8080, 80));
    }
}
