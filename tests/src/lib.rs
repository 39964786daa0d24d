//! Shared parts of the tests on a real dom0: one lab, with `launch` installed and images to pull.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use lab::dom0::Extra;
use lab::instance::{Instance, Options, test_lab_name};
use lab::registry;
use lab::stage::default_stage;
use lab::xen_version::XenVersion;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest time for one command in dom0, on an emulated Xen. A longer command hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Lists everything that an app could leave behind. Ignores `leases.new` of a killed writer: it holds no address, and
/// the next writer overwrites it.
const TRACES: &str = "xl list | awk 'NR>1{print $1}' | sort; losetup -l -n -O BACK-FILE; \
    ip -o link | grep -o 'vif[0-9.]*'; \
    nft list table ip launch 2>/dev/null | grep -o '[a-z]* \\. [0-9]* : [0-9.]*'; \
    nft list table bridge launch 2>/dev/null | grep -o '[0-9a-f:]* \\. 10[0-9.]*'; \
    cd /var/lib/launch && find domains names pool -mindepth 1 -maxdepth 1 2>/dev/null \
        | grep -v -e /.l -e /pools.json; \
    grep -o '\"owners\":{[^}].*' leases 2>/dev/null; \
    for path in /libxl /local/domain /local/domain/0/backend/vbd /local/domain/0/backend/vif; do \
        xenstore-list $path 2>/dev/null; done; true";

/// A fresh dom0 for one run of the tests.
pub struct Dom0 {
    lab: Instance,
}

/// The end of a command in dom0.
#[derive(Debug)]
pub struct Output {
    /// Exit code, or 128 + signal if it was killed.
    pub code: i32,
    /// Standard output as text.
    pub stdout: String,
    /// Standard error as text.
    pub stderr: String,
}

impl Dom0 {
    /// The dom0 that all tests share; the first of them starts it.
    ///
    /// # Panics
    /// The lab cannot be started, so no test can run.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Dom0> = OnceLock::new();
        SHARED.get_or_init(|| match Self::new(None) {
            Ok(dom0) => dom0,
            Err(error) => panic!("cannot start a dom0 for the tests: {error:#}"),
        })
    }

    /// A dom0 with systemd and the services that it starts on a Debian machine. Dropping this value ends it.
    ///
    /// # Panics
    /// The lab cannot be started.
    #[must_use]
    pub fn with_systemd() -> Self {
        match Self::new(Some(Extra::Systemd)) {
            Ok(dom0) => dom0,
            Err(error) => panic!("cannot start a dom0 with systemd for the tests: {error:#}"),
        }
    }

    fn new(extra: Option<Extra>) -> Result<Self> {
        let port = registry::start()?;
        let xen = match std::env::var("LAB_XEN") {
            Ok(version) => version.parse().map_err(|error| anyhow::anyhow!("LAB_XEN: {error}"))?,
            Err(_) => XenVersion::default(),
        };
        let xenstored = match std::env::var("LAB_XENSTORED") {
            Ok(which) => Some(which.parse().map_err(anyhow::Error::msg).context("LAB_XENSTORED")?),
            Err(_) => None,
        };
        let mut name = test_lab_name(xen);
        if extra.is_some() {
            name.push_str("-systemd");
        }
        let options = Options { name, xen, extra, xenstored, ..Options::default() };
        let lab = Instance::fresh(&options)?;
        ensure!(lab.install_stage(&default_stage())?, "nothing is built; run ci/build first");
        let dom0 = Self { lab };
        dom0.write("/etc/launch/config.toml", &registry::mirror_settings(port));
        Ok(dom0)
    }

    /// Reboots dom0 cleanly, with Xen. Only a dom0 with systemd can do that.
    ///
    /// # Panics
    /// It does not run commands after ten minutes.
    pub fn reboot(&self) {
        if let Err(error) = self.lab.reboot("systemctl reboot", 2 * PATIENCE) {
            panic!("dom0 did not reboot: {error:#}");
        }
    }

    /// Runs a program in dom0 to its end.
    ///
    /// # Panics
    /// The lab ends, or the program does not end in time.
    #[must_use]
    pub fn run(&self, argv: &[&str]) -> Output {
        self.run_with_input(argv, &[])
    }

    fn run_with_input(&self, argv: &[&str], input: &[u8]) -> Output {
        let output = match self.lab.run(argv.iter().copied(), input, PATIENCE) {
            Ok(output) => output,
            Err(error) => panic!("cannot run {argv:?} in dom0: {error:#}"),
        };
        Output {
            code: output.code,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `launch` with these arguments.
    #[must_use]
    pub fn launch(&self, args: &[&str]) -> Output {
        self.run(&[&["launch"], args].concat())
    }

    /// Runs a shell script.
    #[must_use]
    pub fn sh(&self, script: &str) -> Output {
        self.run(&["sh", "-c", script])
    }

    /// Writes a file in dom0, and creates its folder if it is missing.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let script = "mkdir -p \"$(dirname \"$0\")\" && cat > \"$0\"";
        self.run_with_input(&["sh", "-c", script, path], text.as_bytes()).expect_success();
    }

    /// Copies a file of this machine to a folder that dom0 sees, and returns its path in dom0.
    ///
    /// # Panics
    /// The file cannot be copied.
    #[must_use]
    pub fn share(&self, file: &str, name: &str) -> String {
        if let Err(error) = std::fs::copy(file, self.lab.share().join(name)) {
            panic!("cannot copy {file}: {error}");
        }
        format!("/share/{name}")
    }

    /// Repeats `script` until it succeeds, and returns its output.
    ///
    /// # Panics
    /// It has not succeeded after `seconds`; the message has its last output.
    #[must_use]
    pub fn eventually(&self, seconds: u64, script: &str) -> String {
        let until = Instant::now() + Duration::from_secs(seconds);
        loop {
            let output = self.sh(script);
            if output.code == 0 {
                return output.stdout;
            }
            assert!(Instant::now() < until, "{script:?} failed for {seconds} s: {output:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Everything that must be the same before and after an app: domains, loop devices, interfaces, ports, folders,
    /// names, xenstore nodes.
    #[must_use]
    pub fn traces(&self) -> String {
        self.sh(TRACES).stdout
    }

    /// Waits until these traces are back; backends may need a moment to release their devices.
    ///
    /// # Panics
    /// There are other traces after half a minute.
    pub fn expect_traces(&self, before: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let now = self.traces();
            if now == before {
                return;
            }
            assert!(Instant::now() < until, "left behind:\n{now}\nbefore:\n{before}");
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Starts `launch run -d --name NAME ARGS`. Dropping the result removes the app.
    ///
    /// # Panics
    /// The app does not start.
    #[must_use]
    pub fn start<'a>(&'a self, name: &'a str, args: &[&str]) -> App<'a> {
        self.launch(&[&["run", "-d", "--name", name], args].concat()).expect_success();
        self.app(name)
    }

    /// The app `name`, which something else starts. Dropping this value removes it.
    #[must_use]
    pub fn app<'a>(&'a self, name: &'a str) -> App<'a> {
        App { dom0: self, name }
    }
}

impl Drop for Dom0 {
    fn drop(&mut self) {
        // If this fails, the next user of the lab ends it.
        let _ = self.lab.down();
    }
}

impl Output {
    /// Returns the output of a command that must succeed.
    ///
    /// # Panics
    /// The command failed.
    pub fn expect_success(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Checks how the command failed: with this code, and with one line on stderr that contains each of `words`.
    ///
    /// # Panics
    /// One of these is not true.
    pub fn expect_failure(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "not one line: {self:?}");
        assert!(self.stderr.starts_with("launch: "), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
    }
}

/// A running app; dropping this value removes it.
pub struct App<'a> {
    dom0: &'a Dom0,
    name: &'a str,
}

impl App<'_> {
    /// The output of `launch inspect` about it.
    ///
    /// # Panics
    /// The app does not exist.
    #[must_use]
    pub fn inspect(&self) -> serde_json::Value {
        let text = self.dom0.launch(&["inspect", self.name]).expect_success().stdout;
        let all: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        all[0].clone()
    }

    /// Its address on `launch0`.
    ///
    /// # Panics
    /// It has no address.
    #[must_use]
    pub fn address(&self) -> String {
        let about = self.inspect();
        match about["state"]["address"].as_str() {
            Some(address) => address.to_owned(),
            None => panic!("{} has no address: {about}", self.name),
        }
    }
}

impl Drop for App<'_> {
    fn drop(&mut self) {
        let output = self.dom0.launch(&["rm", "-f", self.name]);
        // If the test already fails, its own message says more.
        if !std::thread::panicking() {
            output.expect_success();
        }
    }
}
