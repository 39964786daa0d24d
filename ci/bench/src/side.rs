//! The two sides of a comparison: a domain of `launch`, and a container of an OCI runtime with the interface that an
//! engine would make.

use crate::bundle::render_config;
use crate::testbed::{BRIDGE, CLIENT, FOLDER, GATEWAY, LOWER, PREFIX_BITS, Testbed, before_each};
use anyhow::Result;
use serde_json::Value;
use std::net::Ipv4Addr;

/// What exists before each launch, besides what [`Testbed::prepare`] made.
pub(crate) const LAUNCH_READY: [&str; 3] =
    ["image converted to EROFS", "what its start reads is known from an earlier one", "bridge"];
/// What exists before a container starts.
const CONTAINER_READY: [&str; 3] =
    ["bundle with config.json", "root: a fresh overlayfs over launch's EROFS, mounted", "bridge"];

/// Where an app runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// A domain: type (`pv` or `pvh`) and memory.
    Domain { kind: String, memory_mib: u32 },
    /// A container: its runtime, `crun` or `runc`.
    Container { runtime: String },
}

impl Side {
    /// A domain of this type.
    pub(crate) fn domain(kind: &str, memory_mib: u32) -> Self {
        Self::Domain { kind: kind.into(), memory_mib }
    }

    /// A container of crun.
    pub(crate) fn crun() -> Self {
        Self::Container { runtime: "crun".into() }
    }

    /// The name in the figures.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Domain { kind, .. } => format!("launch-{kind}"),
            Self::Container { runtime } => runtime.clone(),
        }
    }

    /// What exists before each start.
    pub(crate) fn ready(&self) -> Vec<String> {
        let ready = match self {
            Self::Domain { .. } => LAUNCH_READY,
            Self::Container { .. } => CONTAINER_READY,
        };
        ready.map(str::to_owned).into()
    }
}

/// An app to start.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) side: Side,
    /// The name for `launch` or the runtime; also the name of a container's folder.
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// Dom0's end of a container's interface, at most 15 characters.
    pub(crate) veth: String,
}

impl App {
    /// Prepares dom0 for a start, with everything that an engine would prepare. `image` is the image's `config`.
    pub(crate) fn prepare(&self, testbed: &Testbed<'_>, image: &Value) -> Result<()> {
        self.write_bundle(testbed, image)?;
        testbed.dom0.sh(&format!("{}\n{}", self.mount(), before_each())).map(drop)
    }

    /// Writes a container's bundle.
    pub(crate) fn write_bundle(&self, testbed: &Testbed<'_>, image: &Value) -> Result<()> {
        if let Side::Domain { .. } = self.side {
            return Ok(());
        }
        let own = self.folder();
        let (veth, address) = (&self.veth, self.address);
        let hook = format!("{CLIENT} attach {BRIDGE} {veth} {address} {PREFIX_BITS} {GATEWAY}");
        let hook: Vec<&str> = hook.split(' ').collect();
        let root = format!("{own}/root");
        let config = render_config(image, &root, &self.name, &hook, testbed.image.ids);
        testbed.dom0.write(&format!("{own}/config.json"), 0o644, config.to_string().as_bytes())
    }

    /// A shell script to run before each start: mounts a container's root.
    pub(crate) fn mount(&self) -> String {
        let own = self.folder();
        match self.side {
            Side::Domain { .. } => String::new(),
            Side::Container { .. } => format!(
                "mkdir -p {own}/upper {own}/work {own}/root
mount -t overlay -o lowerdir={LOWER},upperdir={own}/upper,workdir={own}/work overlay {own}/root"
            ),
        }
    }

    /// The command that starts it, detached or with its output. `args` replace the image's own command in a domain; a
    /// container has its command in the bundle.
    pub(crate) fn command(&self, image: &str, args: &[String], detached: bool) -> Vec<String> {
        let (detach, own) = (if detached { " -d" } else { "" }, self.folder());
        let Self { side, name, address, .. } = self;
        let (command, args) = match side {
            Side::Domain { kind, memory_mib } => {
                let flags =
                    format!("--name {name} --ip {address} --type {kind} --memory {memory_mib}m");
                (format!("launch run{detach} {flags} {image}"), args)
            }
            Side::Container { runtime } => {
                (format!("{runtime} run{detach} --bundle {own} {name}"), &[][..])
            }
        };
        command.split(' ').map(str::to_owned).chain(args.iter().cloned()).collect()
    }

    /// The command that runs `true` beside it.
    pub(crate) fn exec(&self) -> Vec<String> {
        let program = match &self.side {
            Side::Domain { .. } => "launch",
            Side::Container { runtime } => runtime,
        };
        [program, "exec", &self.name, "true"].map(str::to_owned).into()
    }

    /// A shell script that removes it and the data that it wrote.
    pub(crate) fn take_down(&self) -> String {
        let (own, Self { name, veth, .. }) = (self.folder(), self);
        match &self.side {
            Side::Domain { .. } => format!("launch rm -f {name} >/dev/null"),
            Side::Container { runtime } => format!(
                "{runtime} delete -f {name} || true
ip link del {veth} 2>/dev/null || true
umount {own}/root
rm -rf {own}/upper {own}/work"
            ),
        }
    }

    fn folder(&self) -> String {
        format!("{FOLDER}/{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_gets_what_it_runs_by_its_command_and_a_container_by_its_bundle() {
        let (name, veth) = ("a".to_owned(), "v".to_owned());
        let mut app = App { side: Side::crun(), name, address: GATEWAY, veth };
        let args = ["sh".to_owned()];
        let line = |app: &App, detached| app.command("nginx", &args, detached).join(" ");
        assert_eq!(line(&app, true), "crun run -d --bundle /var/lib/lab-compare/a a");
        app.side = Side::Domain { kind: "pv".into(), memory_mib: 64 };
        let rest = "--name a --ip 10.112.0.1 --type pv --memory 64m nginx sh";
        assert_eq!(line(&app, true), format!("launch run -d {rest}"));
        assert_eq!(line(&app, false), format!("launch run {rest}"));
    }
}
