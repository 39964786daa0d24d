//! Container engines with their own images, networks and daemons.

use super::{Here, Plan, words};
use crate::compare::ground::Ground;
use crate::compare::place::Place;
use anyhow::Result;
use std::net::Ipv4Addr;

/// The engines' network; `docker run --ip` wants one that was made by a user.
const NETWORK: &str = "startup";

/// Pulls the image and makes a network.
pub(super) fn prepare(program: &str, ground: &Ground) -> Result<Here> {
    let place = &ground.place;
    if !place.has(program)? {
        return Ok(Err(format!("{program} is not installed")));
    }
    let (subnet, address) = match program {
        "docker" => ("10.111.2.0/24", Ipv4Addr::new(10, 111, 2, 10)),
        _ => ("10.111.1.0/24", Ipv4Addr::new(10, 111, 1, 10)),
    };
    let reference = match &ground.registry {
        Some(registry) => format!("{registry}/library/{}:latest", ground.image.name),
        None => format!("docker.io/library/{}:latest", ground.image.name),
    };
    if matches!(place, Place::Lab(_)) {
        set_up_in_lab(program, ground)?;
    }
    if place.run(&[program, "info"], &[])?.code != 0 {
        return Ok(Err(format!("{program} info fails; does its daemon run?")));
    }
    place.sh(&format!(
        "{program} pull -q {reference} >/dev/null
{program} rm -f {NETWORK} >/dev/null 2>&1 || true
{program} network rm {NETWORK} >/dev/null 2>&1 || true
{program} network create --subnet {subnet} {NETWORK} >/dev/null"
    ))?;
    let storage = match program {
        "docker" => "docker info -f '{{.Driver}}'",
        _ => "podman info -f '{{.Store.GraphDriverName}}'",
    };
    let storage = place.sh(storage)?.trim().to_owned();
    let daemon = if program == "docker" { "dockerd and containerd run" } else { "no daemon" };
    let ip = address.to_string();
    let mut command = words(&[program, "run", "-d", "--name", NETWORK, "--network", NETWORK]);
    command.extend(words(&["--ip", &ip, &reference]));
    Ok(Ok(Plan {
        find_address: None,
        ready: words(&[
            "image pulled and unpacked",
            &format!("storage: {storage}"),
            daemon,
            "network with its bridge",
        ]),
        address,
        settle: String::new(),
        before: String::new(),
        command,
        after: format!("{program} rm -f {NETWORK} >/dev/null"),
        at_end: format!("{program} network rm {NETWORK} >/dev/null"),
        explain: format!("{program} ps -a; {program} logs {NETWORK} 2>&1 | tail -n 20"),
    }))
}

/// What a distribution with systemd has ready: daemons, and settings that fit a system without it.
fn set_up_in_lab(program: &str, ground: &Ground) -> Result<()> {
    let registry = ground.registry.as_deref().unwrap_or_default();
    if program == "podman" {
        let settings = "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        ground.place.write("/etc/containers/containers.conf", 0o644, settings.as_bytes())?;
        let registries = format!("[[registry]]\nlocation = \"{registry}\"\ninsecure = true\n");
        let path = "/etc/containers/registries.conf.d/lab.conf";
        return ground.place.write(path, 0o644, registries.as_bytes());
    }
    let start = format!(
        "docker info >/dev/null 2>&1 && exit
setsid dockerd --insecure-registry {registry} >/var/log/dockerd.log 2>&1 </dev/null &
for _ in $(seq 240); do docker info >/dev/null 2>&1 && exit; sleep 0.5; done
tail -n 5 /var/log/dockerd.log >&2
exit 1"
    );
    ground.place.sh(&start).map(drop)
}
