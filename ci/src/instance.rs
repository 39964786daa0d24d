//! A running lab: started from the snapshot, used, ended.

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::accelerator::Accelerator;
use crate::cache::{Lock, cache_root, make_private_folder, remove_tree};
use crate::clock::Clock;
use crate::dom0::Extra;
use crate::host::{install_missing, say};
use crate::qemu::{Machine, Qemu, Setup, Size, console_tail, triple_faults};
use crate::session::{Address, Collected, Session};
use crate::snapshot::find_or_make_snapshot;
use crate::stage;
use crate::xen_version::XenVersion;
use crate::xenstored::Xenstored;
use lab_agent::frame::Start;

/// (program, package) for everything that the lab needs on the host.
const HOST_PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("gzip", "gzip"),
];

/// How long a working agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(180);

/// The name of the tests' lab: `LAB_NAME`, or one for each version of Xen.
#[must_use]
pub fn test_lab_name(xen: XenVersion) -> String {
    std::env::var("LAB_NAME").unwrap_or_else(|_| format!("tests-{xen}").replace('.', "-"))
}

/// The options of a lab.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name; labs of different names run side by side.
    pub name: String,
    /// The versions of Xen and Debian in dom0.
    pub xen: XenVersion,
    /// Additional software in dom0.
    pub extra: Option<Extra>,
    /// Its memory and processors.
    pub size: Size,
    /// The source of its time, if its processor is emulated; `None` keeps that of a running lab, or is the time of day.
    pub clock: Option<Clock>,
    /// The xenstored in dom0; `None` keeps that of a running lab, or is Debian's default.
    pub xenstored: Option<Xenstored>,
    /// The host folder to show at /share; `None` is the lab's own folder.
    pub share: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "default".into(),
            xen: XenVersion::default(),
            extra: None,
            size: Size::default(),
            clock: None,
            xenstored: None,
            share: None,
        }
    }
}

impl Options {
    fn setup(&self) -> Setup {
        Setup {
            extra: self.extra,
            size: self.size,
            clock: self.clock.unwrap_or_default(),
            xenstored: self.xenstored.unwrap_or_default(),
        }
    }
}

/// The file about a running lab.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    port: u16,
    token: String,
    xen: String,
    #[serde(flatten)]
    setup: Setup,
    share: PathBuf,
}

/// A running lab.
#[derive(Debug)]
pub struct Instance {
    own: PathBuf,
    facts: Facts,
}

impl Instance {
    /// Finds the running lab of this name.
    ///
    /// # Errors
    /// The lab's files cannot be read.
    pub fn find(name: &str) -> Result<Option<Self>> {
        let own = instance_folder(name)?;
        let Ok(text) = fs::read(own.join("facts.json")) else { return Ok(None) };
        if Qemu::find(&own)?.is_none() {
            return Ok(None);
        }
        let facts = serde_json::from_slice(&text)
            .with_context(|| format!("cannot read {}/facts.json", own.display()))?;
        Ok(Some(Self { own, facts }))
    }

    /// Finds the running lab, or starts one and makes what it needs.
    ///
    /// # Errors
    /// A step failed, or the lab runs with other options.
    pub fn up(options: &Options) -> Result<Self> {
        Self::up_locked(options, false)
    }

    /// Starts a lab that nothing has run in; ends a running one of the same name.
    ///
    /// # Errors
    /// A step failed.
    pub fn fresh(options: &Options) -> Result<Self> {
        Self::up_locked(options, true)
    }

    fn up_locked(options: &Options, fresh: bool) -> Result<Self> {
        let own = instance_folder(&options.name)?;
        make_private_folder(&own)?;
        let _lock = Lock::take(&own.join("lock"))?;
        if let Some(running) = Self::find(&options.name)? {
            if !fresh {
                return running.check(options);
            }
            running.down()?;
        }
        install_missing(HOST_PROGRAMS)?;
        let (accelerator, made) = find_snapshot(options)?;
        let share = match &options.share {
            Some(share) => fs::canonicalize(share)
                .with_context(|| format!("cannot share {}", share.display()))?,
            None => own.join("share"),
        };
        remove_tree(&own.join("stage"))?;
        make_private_folder(&own.join("share"))?;
        make_private_folder(&own.join("stage"))?;
        let _ = fs::remove_file(own.join("installed"));
        let machine = Machine {
            made: &made,
            own: &own,
            share: &share,
            setup: options.setup(),
            accelerator: &accelerator,
        };
        let mut qemu = machine.start(true)?;
        let result = Self::load(&mut qemu, &made, own.clone(), options, share.clone());
        match result {
            Ok(instance) => {
                say(&format!("Xen {} is up ({accelerator})", options.xen));
                Ok(instance)
            }
            Err(error) => {
                let tail = console_tail(&own);
                let _ = qemu.quit();
                Err(error.context(tail))
            }
        }
    }

    fn load(
        qemu: &mut Qemu,
        made: &Path,
        own: PathBuf,
        options: &Options,
        share: PathBuf,
    ) -> Result<Self> {
        qemu.wait_loaded_and_run(Duration::from_secs(120))?;
        let facts = Facts {
            port: qemu.forward_agent()?,
            token: fs::read_to_string(made.join("token")).context("cannot read the token")?,
            xen: options.xen.to_string(),
            setup: options.setup(),
            share,
        };
        let instance = Self { own, facts };
        // The snapshot's clock shows the time when it was made, and its disk is read-only.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let script = format!(
            "date -u -s @{}.{:03} && mount -o remount,rw / && cp /etc/fstab.loaded /etc/fstab && mount -a",
            now.as_secs(),
            now.subsec_millis()
        );
        let output = instance.run(["sh", "-c", &script], &[], PATIENCE)?;
        if output.code != 0 {
            bail!("cannot set dom0 up:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let text = serde_json::to_vec(&instance.facts)?;
        fs::write(instance.own.join("facts.json"), text).context("cannot write facts.json")?;
        Ok(instance)
    }

    fn check(self, options: &Options) -> Result<Self> {
        if self.facts.xen != options.xen.to_string() {
            bail!(
                "the lab {} runs Xen {}; `ci/lab down` first, or give the other one a --name",
                options.name,
                self.facts.xen
            );
        }
        if options.extra.is_some() && self.facts.setup.extra != options.extra {
            bail!(
                "the lab {} was started without these additions; `ci/lab down` first, or give the other one a --name",
                options.name
            );
        }
        if options.clock.is_some_and(|clock| clock != self.facts.setup.clock) {
            bail!(
                "the lab {} has another clock; `ci/lab down` first, or give the other one a --name",
                options.name
            );
        }
        if options.xenstored.is_some_and(|xenstored| xenstored != self.facts.setup.xenstored) {
            bail!(
                "the lab {} runs {}; `ci/lab down` first, or give the other one a --name",
                options.name,
                self.facts.setup.xenstored.program()
            );
        }
        Ok(self)
    }

    /// Starts a command in dom0.
    ///
    /// # Errors
    /// The lab does not answer, or the command cannot be started.
    pub fn start(&self, start: Start) -> Result<Session> {
        self.start_in(start, PATIENCE)
    }

    fn start_in(&self, start: Start, patience: Duration) -> Result<Session> {
        let address = Address { port: self.facts.port, token: self.facts.token.clone() };
        Session::start(&address, start, patience)
    }

    /// Runs a command in dom0 to its end.
    ///
    /// # Errors
    /// The command cannot be started, or takes longer than `timeout`.
    pub fn run<S: Into<String>>(
        &self,
        argv: impl IntoIterator<Item = S>,
        input: &[u8],
        timeout: Duration,
    ) -> Result<Collected> {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        let name = argv.first().cloned().unwrap_or_default();
        self.start(Start { argv, ..Start::default() })
            .and_then(|session| session.collect(input, timeout))
            .with_context(|| format!("cannot run {name} in dom0"))
    }

    /// Installs the staged build into dom0, if it is not already installed. Returns whether there is a build.
    ///
    /// # Errors
    /// The build cannot be copied.
    pub fn install_stage(&self, staged: &Path) -> Result<bool> {
        if !staged.is_dir() {
            return Ok(false);
        }
        let _lock = Lock::take(&self.own.join("stage.lock"))?;
        let fingerprint = stage::fingerprint(staged)?;
        let marker = self.own.join("installed");
        if fs::read_to_string(&marker).is_ok_and(|text| text == fingerprint) {
            return Ok(true);
        }
        stage::copy(staged, &self.own.join("stage"))?;
        // A running program's file cannot be written, but it can be replaced. `/stage/.` would give / the mode of the
        // lab's private folder.
        let copy = "cp -R --preserve=mode --remove-destination /stage/* / && sync";
        let output = self.run(["sh", "-c", copy], &[], PATIENCE)?;
        if output.code != 0 {
            bail!("cannot install the build:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        fs::write(marker, fingerprint).context("cannot record the installed build")?;
        Ok(true)
    }

    /// Forwards a port of this machine's loopback to the same or another port of dom0.
    ///
    /// # Errors
    /// The port is in use.
    pub fn forward(&self, protocol: &str, host: u16, dom0: u16) -> Result<()> {
        let mut qemu = Qemu::find(&self.own)?.context("the lab has ended")?;
        qemu.forward(protocol, host, dom0)
    }

    /// Its memory and processors.
    #[must_use]
    pub fn size(&self) -> Size {
        self.facts.setup.size
    }

    /// The host folder that dom0 sees at /share.
    #[must_use]
    pub fn share(&self) -> &Path {
        &self.facts.share
    }

    /// The number of guests that, according to Xen, died of a triple fault.
    #[must_use]
    pub fn triple_faults(&self) -> usize {
        triple_faults(&self.own)
    }

    /// Restarts Xen and dom0 with `command`, keeping the disk, and waits until dom0 runs commands.
    ///
    /// # Errors
    /// Dom0 does not run commands within `timeout`.
    pub fn reboot(&self, command: &str, timeout: Duration) -> Result<()> {
        let short = Duration::from_secs(10);
        let read_boot_id = || {
            let argv = ["cat", "/proc/sys/kernel/random/boot_id"].map(String::from).into();
            let session = self.start_in(Start { argv, ..Start::default() }, short)?;
            session.collect(&[], short)
        };
        let before = read_boot_id()?.stdout;
        Qemu::find(&self.own)?.context("the lab has ended")?.restart_at_reset()?;
        self.run(["sh", "-c", command], &[], PATIENCE)?;
        let deadline = Instant::now() + timeout;
        loop {
            let error = match read_boot_id() {
                Ok(output) if output.stdout != before => return Ok(()),
                Ok(_) => anyhow!("it has not shut down yet"),
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(error.context(console_tail(&self.own)));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Ends the lab; all changes in it are lost.
    ///
    /// # Errors
    /// QEMU does not end.
    pub fn down(&self) -> Result<()> {
        if let Some(qemu) = Qemu::find(&self.own)? {
            qemu.quit()?;
        }
        let _ = fs::remove_file(self.own.join("facts.json"));
        Ok(())
    }
}

/// The snapshot to load. If Xen does not run under KVM that should support it, records that and uses emulation.
fn find_snapshot(options: &Options) -> Result<(Accelerator, PathBuf)> {
    let find = |accelerator: &Accelerator| {
        find_or_make_snapshot(options.xen, &options.setup(), accelerator)
    };
    let marker = failed_kvm_marker()?;
    let mut accelerator = accelerator()?;
    let mut made = find(&accelerator);
    let instead = Accelerator::detect(true);
    if let (Accelerator::Kvm, Accelerator::Emulation(_), Err(error)) =
        (&accelerator, &instead, &made)
    {
        say(&format!("Xen does not run under KVM here, trying emulation: {error:#}"));
        fs::write(&marker, "LAB_ACCEL=kvm tries again\n").context("cannot write to the cache")?;
        made = find(&instead);
        accelerator = instead;
    }
    Ok((accelerator, made?))
}

/// How the labs of this machine run.
///
/// # Errors
/// The cache has no place.
pub fn accelerator() -> Result<Accelerator> {
    Ok(Accelerator::detect(failed_kvm_marker()?.exists()))
}

fn failed_kvm_marker() -> Result<PathBuf> {
    Ok(cache_root()?.join("kvm-cannot-run-xen"))
}

fn instance_folder(name: &str) -> Result<PathBuf> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(is_plain) {
        bail!("{name:?} is not a valid name for a lab: use letters, digits, - and _");
    }
    Ok(cache_root()?.join("labs").join(name))
}
