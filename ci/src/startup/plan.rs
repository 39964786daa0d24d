//! How each contender is made ready, started and taken down.

use super::bundle::render_config;
use super::contender::Contender;
use super::ground::{BRIDGE, CLIENT, FOLDER, GATEWAY, Image, LOWER};
use super::place::Place;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A contender that can be started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// What was ready before the clock started.
    pub ready: Vec<String>,
    /// Where the app will answer.
    pub address: Ipv4Addr,
    /// A shell script before each start; not timed.
    pub before: String,
    /// What is timed.
    pub command: Vec<String>,
    /// A shell script after each start; not timed.
    pub after: String,
}

/// A contender is here, or it is not for this reason.
pub type Here = std::result::Result<Plan, String>;

/// Makes a contender ready.
///
/// # Errors
/// When it is here and cannot be made ready.
pub fn prepare(contender: Contender, place: &Place, image: &Image) -> Result<Here> {
    match contender {
        Contender::Launch { toolstack, kind } => {
            let flags = ["--toolstack", toolstack, "--type", kind];
            prepare_launch(&contender.to_string(), &flags, place, image)
        }
        Contender::LaunchPool | Contender::LaunchPoolImage => {
            Ok(Err("this launch has no pool".into()))
        }
        Contender::XlStock => Ok(Err("not written yet".into())),
        Contender::Runtime(program) => prepare_runtime(program, place, image),
        Contender::Engine(_) => Ok(Err("not written yet".into())),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn prepare_launch(name: &str, flags: &[&str], place: &Place, image: &Image) -> Result<Here> {
    let all = flags.join(" ");
    let start = format!("launch run -d --name {name} {all} {}", image.name);
    let output = place.run(&["sh", "-c", &start], &[])?;
    if output.code != 0 {
        let text = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(text.lines().last().unwrap_or("launch fails").to_owned()));
    }
    // The address that it is given by itself is asked for from now on: the client must know it.
    let address = place.sh(&format!("launch inspect {name} | jq -r '.[0].state.address'"))?;
    let after = format!("launch rm -f {name} >/dev/null");
    place.sh(&after)?;
    let address: Ipv4Addr = address.trim().parse()?;
    let ip = address.to_string();
    let mut command = words(&["launch", "run", "-d", "--name", name, "--ip", &ip]);
    command.extend(words(flags));
    command.push(image.name.clone());
    Ok(Ok(Plan {
        ready: words(&["image converted to EROFS", "bridge"]),
        address,
        before: String::new(),
        command,
        after,
    }))
}

/// Addresses on our bridge, apart from each other so that no round hears of another.
fn own_address(program: &str) -> Ipv4Addr {
    match program {
        "crun" => Ipv4Addr::new(10, 111, 0, 10),
        _ => Ipv4Addr::new(10, 111, 0, 11),
    }
}

fn prepare_runtime(program: &str, place: &Place, image: &Image) -> Result<Here> {
    if !place.has(program)? {
        return Ok(Err(format!("{program} is not installed")));
    }
    let own = format!("{FOLDER}/{program}");
    let address = own_address(program);
    let veth = format!("v-{program}");
    let (own_ip, gateway) = (address.to_string(), GATEWAY.to_string());
    let hook = [CLIENT, "attach", BRIDGE, &veth, &own_ip, "24", &gateway];
    let config = render_config(&image.config, &format!("{own}/root"), program, &hook);
    place.write(&format!("{own}/config.json"), 0o644, config.to_string().as_bytes())?;
    let command = words(&[program, "run", "-d", "--bundle", &own, program]);
    Ok(Ok(Plan {
        ready: words(&["bundle with config.json", "root: overlayfs over launch's EROFS, mounted", "bridge"]),
        address,
        before: format!(
            "mkdir -p {own}/upper {own}/work {own}/root
             mount -t overlay -o lowerdir={LOWER},upperdir={own}/upper,workdir={own}/work overlay {own}/root"
        ),
        command,
        after: format!(
            "{program} delete -f {program} || true
             ip link del {veth} 2>/dev/null || true
             umount {own}/root
             rm -rf {own}/upper {own}/work"
        ),
    }))
}
