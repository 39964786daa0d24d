//! The sides: domains of either type, and a container of crun.

use super::workload::{App, DISK_SCRIPT, with_command};
use crate::compare::container::{Container, READY};
use crate::compare::ground::{CLIENT, Ground, LAUNCH_READY, before_each, remove_apps};
use anyhow::{Context, Result, ensure};
use lab_client::measure::Measure;
use serde_json::Value;
use std::net::Ipv4Addr;

/// What all names of ours begin with.
const PREFIX: &str = "throughput";
/// The longest that an app may take to start, in seconds.
const PATIENCE_S: &str = "120";

/// One side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// `launch-pvh`, `launch-pv` or `crun`.
    pub name: String,
    /// Memory of a domain in MiB.
    pub memory_mib: u32,
}

impl Contender {
    /// Their names, in the order they are shown in.
    pub const NAMES: [&str; 3] = ["launch-pvh", "launch-pv", "crun"];

    fn kind(&self) -> Option<&str> {
        self.name.strip_prefix("launch-")
    }

    fn own_name(&self) -> String {
        format!("{PREFIX}-{}", self.name)
    }

    /// Where its app answers.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        match self.kind() {
            Some("pv") => Ipv4Addr::new(10, 107, 200, 1),
            Some(_) => Ipv4Addr::new(10, 107, 200, 2),
            None => Ipv4Addr::new(10, 112, 200, 3),
        }
    }

    fn container(&self) -> Container {
        Container {
            program: "crun".into(),
            name: self.own_name(),
            address: self.address(),
            veth: format!("v-{PREFIX}"),
        }
    }

    /// What was ready before its app was started.
    #[must_use]
    pub fn ready(&self) -> Vec<String> {
        match self.kind() {
            Some(_) => LAUNCH_READY.map(Into::into).to_vec(),
            None => READY.map(str::to_owned).into(),
        }
    }

    /// The command that starts `command` of the image; `detached` or with its output.
    #[must_use]
    pub fn command(&self, image: &str, command: &[String], detached: bool) -> Vec<String> {
        let Some(kind) = self.kind() else {
            let all = self.container().command();
            return all.into_iter().filter(|word| detached || word != "-d").collect();
        };
        let (name, ip) = (self.own_name(), self.address().to_string());
        let memory = format!("{}m", self.memory_mib);
        let mut all = vec!["launch", "run"];
        all.extend(if detached { Some("-d") } else { None });
        all.extend(["--name", &name, "--ip", &ip, "--type", kind, "--memory", &memory, image]);
        all.into_iter().chain(command.iter().map(String::as_str)).map(str::to_owned).collect()
    }

    /// The command that runs `true` beside its app.
    #[must_use]
    pub fn exec(&self) -> [String; 4] {
        let program = if self.kind().is_some() { "launch" } else { "crun" };
        [program.into(), "exec".into(), self.own_name(), "true".into()]
    }

    /// Starts an app and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self, ground: &Ground, app: &App) -> Result<()> {
        self.prepare(ground, &app.config(&ground.image.config))?;
        let address = format!("{}:{}", self.address(), app.port);
        let command = self.command(&ground.image.name, &app.command(), true);
        let mut argv = vec![CLIENT, "measure", app.question, &address, PATIENCE_S];
        argv.extend(command.iter().map(String::as_str));
        let output = ground.place.run(&argv, &[])?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.code == 0, "the client fails: {text}");
        let measure: Measure =
            serde_json::from_slice(&output.stdout).context("the client gave no JSON")?;
        ensure!(
            measure.first_answer_ms.is_some(),
            "{} does not answer: {:?} {}",
            self.name,
            measure.failures,
            measure.output.trim()
        );
        Ok(())
    }

    /// Runs the disk's workload in a shell in the app's place; returns what it wrote.
    ///
    /// # Errors
    /// When it fails.
    pub fn run_disk(&self, ground: &Ground) -> Result<String> {
        let shell = ["sh", "-c", DISK_SCRIPT].map(str::to_owned);
        self.prepare(ground, &with_command(&ground.image.config, &shell))?;
        let command = self.command(&ground.image.name, &shell, false);
        let argv: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = ground.place.run(&argv, &[])?;
        // `launch` shows the console, which has both streams; crun's come apart.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(output.code == 0, "{} ends with {}: {text}", self.name, output.code);
        self.take_down(ground)?;
        Ok(text)
    }

    fn prepare(&self, ground: &Ground, config: &Value) -> Result<()> {
        if self.kind().is_none() {
            let container = self.container();
            container.write_bundle(ground, config)?;
            ground.place.sh(&container.mount())?;
        }
        ground.place.sh(&before_each()).map(drop)
    }

    /// Takes its app down, as far as it is there, and starts it again: one that died (emulated guests do)
    /// is not to fail all rounds to come.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_anew(&self, ground: &Ground, app: &App) -> Result<()> {
        let _ = self.take_down(ground);
        self.start(ground, app)
    }

    /// Takes its app down.
    ///
    /// # Errors
    /// When it stays.
    pub fn take_down(&self, ground: &Ground) -> Result<()> {
        let script = match self.kind() {
            Some(_) => format!("launch rm -f {} >/dev/null", self.own_name()),
            None => self.container().take_down(),
        };
        ground.place.sh(&script).map(drop)
    }
}

/// A shell script that takes down whatever is left.
#[must_use]
pub fn take_down_all() -> String {
    format!("{}\ncrun delete -f {PREFIX}-crun 2>/dev/null", remove_apps(&format!("^{PREFIX}-")))
}
