//! `launch`, cold and with domains that wait.

use super::{Here, Plan, words};
use crate::compare::ground::{App, Ground, LAUNCH_READY};
use anyhow::Result;

/// Memory of a cold domain in MiB: the default, said aloud so that no waiting domain fits.
const COLD_MIB: u32 = 64;

/// Makes a cold launch ready: one is started, which shows that it works and what address it gets.
pub(super) fn prepare(name: &str, toolstack: &str, kind: &str, ground: &Ground) -> Result<Here> {
    let memory = format!("{COLD_MIB}m");
    let flags = ["--toolstack", toolstack, "--type", kind, "--memory", &memory];
    let ready = words(&LAUNCH_READY);
    Ok(plan(name, &flags, ready, true, ground)?.map_err(|reason| format!("launch fails: {reason}")))
}

/// Makes a pool of one domain and a launch out of it ready.
///
/// A launch takes a waiting domain of its own size: one MiB more for each pool keeps the contenders
/// from taking each other's.
pub(super) fn prepare_pool(name: &str, image: Option<&str>, ground: &Ground) -> Result<Here> {
    if ground.place.run(&["launch", "pool", "--help"], &[])?.code != 0 {
        return Ok(Err("this launch has no pool".into()));
    }
    let mib = COLD_MIB + if image.is_some() { 2 } else { 1 };
    let memory = format!("{mib}m");
    let mut pool = format!("launch pool --memory {memory} --size 1");
    let mut ready = words(&LAUNCH_READY);
    match image {
        Some(image) => {
            pool += &format!(" --image {image}");
            ready.push("a domain with interface and the image's disk that waits".into());
        }
        None => ready.push("a domain with its interface that waits".into()),
    }
    let output = ground.place.run(&["sh", "-c", &pool], &[])?;
    if output.code != 0 {
        return Ok(Err(format!("{pool} fails: {}", last_line(&output.stderr))));
    }
    let mut here = plan(name, &["--memory", &memory], ready, false, ground)?;
    if let Ok(plan) = &mut here {
        // The waiting domain has its address already, and another each time.
        let ours = format!("select(.Memory == \"{mib} MiB\") | .Addresses");
        plan.find_address = Some(format!("launch pool --format json | jq -r '{ours}'"));
        // It is filled again in the background after a launch; this waits for that.
        plan.settle = "launch pool --fill >/dev/null".into();
        plan.explain += "; launch pool; xl list; xl dmesg | tail -n 5";
        plan.at_end = pool.replace("--size 1", "--size 0");
    }
    Ok(here.map_err(|reason| format!("launch fails: {reason}")))
}

/// `ip`: asks for the same address each time.
fn plan(name: &str, flags: &[&str], ready: Vec<String>, ip: bool, ground: &Ground) -> Result<Here> {
    let mut probe = vec!["launch", "run", "-d", "--name", name];
    probe.extend(flags);
    probe.push(&ground.image.name);
    let output = ground.place.run(&probe, &[])?;
    if output.code != 0 {
        return Ok(Err(last_line(&output.stderr)));
    }
    let app = App::inspect(&ground.place, name)?;
    let after = format!("launch rm -f {name} >/dev/null");
    ground.place.sh(&after)?;
    let mut command = words(&["launch", "run", "-d", "--name", name]);
    if ip {
        // What it was given by itself: the client must know it.
        command.extend(words(&["--ip", &app.address.to_string()]));
    }
    command.extend(words(flags));
    command.push(ground.image.name.clone());
    let (settle, before, at_end) = Default::default();
    let explain = format!("launch ps -a; launch logs {name} 2>&1 | tail -n 20");
    let find_address = None;
    Ok(Ok(Plan {
        ready,
        address: app.address,
        find_address,
        settle,
        before,
        command,
        after,
        at_end,
        explain,
    }))
}

fn last_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().last().unwrap_or_default().to_owned()
}
