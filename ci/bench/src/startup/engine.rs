//! Container engines with their own images, networks and daemons.

use super::plan::{Here, Plan, words};
use crate::dom0::Dom0;
use crate::testbed::Testbed;
use anyhow::Result;
use std::net::Ipv4Addr;

/// The engines' network; `docker run --ip` requires one that a user made.
const NETWORK: &str = "startup";

/// Pulls the image and creates a network.
pub(crate) fn prepare(program: &str, testbed: &Testbed<'_>) -> Result<Here> {
    let dom0 = testbed.dom0;
    if !dom0.has(program)? {
        return Ok(Err(format!("{program} is not installed")));
    }
    let (subnet, address) = match program {
        "docker" => ("10.111.2.0/24", Ipv4Addr::new(10, 111, 2, 10)),
        _ => ("10.111.1.0/24", Ipv4Addr::new(10, 111, 1, 10)),
    };
    let registry = match dom0 {
        Dom0::Lab(_, registry) => registry,
        Dom0::Here => "docker.io",
    };
    if let Dom0::Lab(..) = dom0 {
        set_up_in_lab(program, dom0, registry)?;
    }
    let reference = format!("{registry}/library/{}:latest", testbed.image.name);
    if dom0.run(&[program, "info"], &[])?.code != 0 {
        return Ok(Err(format!("{program} info fails; does its daemon run?")));
    }
    dom0.sh(&format!(
        "{program} pull -q {reference} >/dev/null
{program} rm -f {NETWORK} >/dev/null 2>&1 || true
{program} network rm {NETWORK} >/dev/null 2>&1 || true
{program} network create --subnet {subnet} {NETWORK} >/dev/null"
    ))?;
    let storage = match program {
        "docker" => "docker info -f '{{.Driver}}'",
        _ => "podman info -f '{{.Store.GraphDriverName}}'",
    };
    let storage = format!("storage: {}", dom0.sh(storage)?.trim());
    let daemon = if program == "docker" { "dockerd and containerd run" } else { "no daemon" };
    let run =
        format!("{program} run -d --name {NETWORK} --network {NETWORK} --ip {address} {reference}");
    let command = words(&run.split(' ').collect::<Vec<_>>());
    let ready = ["image pulled and unpacked", &storage, daemon, "network with its bridge"];
    let after = format!("{program} rm -f {NETWORK} >/dev/null");
    let explain = format!("{program} ps -a; {program} logs {NETWORK} 2>&1 | tail -n 20");
    let mut plan = Plan::new(&ready, address, command, after, explain);
    plan.at_end = format!("{program} network rm {NETWORK} >/dev/null");
    Ok(Ok(plan))
}

/// Sets up what a distribution with systemd has ready: daemons, and settings for a system without systemd.
fn set_up_in_lab(program: &str, dom0: &Dom0, registry: &str) -> Result<()> {
    if program == "podman" {
        let settings = "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        dom0.write("/etc/containers/containers.conf", 0o644, settings.as_bytes())?;
        let registries = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
        let path = "/etc/containers/registries.conf.d/lab.conf";
        return dom0.write(path, 0o644, registries.as_bytes());
    }
    let start = format!(
        "docker info >/dev/null 2>&1 && exit
setsid dockerd --insecure-registry {registry} >/var/log/dockerd.log 2>&1 </dev/null &
for _ in $(seq 240); do docker info >/dev/null 2>&1 && exit; sleep 0.5; done
tail -n 5 /var/log/dockerd.log >&2
exit 1"
    );
    dom0.sh(&start).map(drop)
}
