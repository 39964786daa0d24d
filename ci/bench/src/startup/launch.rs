//! `launch`, cold and with pooled domains.

use super::plan::{Here, Plan, words};
use crate::side::LAUNCH_READY;
use crate::testbed::{Guest, Testbed};
use anyhow::Result;

/// Memory of a cold domain in MiB: the default, but explicit, so that no pooled domain fits.
const COLD_MIB: u32 = 64;

/// Prepares a cold launch: starts one, which shows that it works and which address it gets.
pub(crate) fn prepare(name: &str, flags: [&str; 4], testbed: &Testbed<'_>) -> Result<Here> {
    plan(name, &[&flags[..], &["--memory", &format!("{COLD_MIB}m")]].concat(), true, testbed)
}

/// Prepares a pool of one domain, and a launch that takes it.
///
/// A launch takes a pooled domain of its own size. One MiB more for each pool keeps a contender from taking another's
/// domain.
pub(crate) fn prepare_pool(name: &str, of_image: bool, testbed: &Testbed<'_>) -> Result<Here> {
    if testbed.dom0.run(&["launch", "pool", "--help"], &[])?.code != 0 {
        return Ok(Err("this launch has no pool".into()));
    }
    let (mib, flag, waits) = match of_image {
        true => (
            COLD_MIB + 2,
            format!(" --image {}", testbed.image.name),
            "a domain with interface and the image's disk that waits",
        ),
        false => (COLD_MIB + 1, String::new(), "a domain with its interface that waits"),
    };
    let memory = format!("{mib}m");
    let pool = format!("launch pool --memory {memory} --size 1{flag}");
    let output = testbed.dom0.run(&["sh", "-c", &pool], &[])?;
    if output.code != 0 {
        return Ok(Err(format!("{pool} fails: {}", last_line(&output.stderr))));
    }
    let mut here = plan(name, &["--memory", &memory], false, testbed)?;
    if let Ok(plan) = &mut here {
        plan.ready.push(waits.into());
        // The pooled domain already has its address, a different one each time.
        let ours = format!("select(.Memory == \"{mib} MiB\") | .Addresses");
        plan.find_address = Some(format!("launch pool --format json | jq -r '{ours}'"));
        // After a launch, the pool is filled again in the background; this waits for it.
        plan.settle = "launch pool --fill >/dev/null".into();
        plan.explain += "; launch pool; xl list; xl dmesg | tail -n 5";
        plan.at_end = pool.replace("--size 1", "--size 0");
    }
    Ok(here)
}

/// `ip`: whether to request the same address each time.
fn plan(name: &str, flags: &[&str], ip: bool, testbed: &Testbed<'_>) -> Result<Here> {
    let start = ["launch", "run", "-d", "--name", name];
    let image = [testbed.image.name.as_str()];
    let output = testbed.dom0.run(&[&start, flags, &image].concat(), &[])?;
    if output.code != 0 {
        return Ok(Err(format!("launch fails: {}", last_line(&output.stderr))));
    }
    let address = Guest::inspect(testbed.dom0, name)?.address;
    let after = format!("launch rm -f {name} >/dev/null");
    testbed.dom0.sh(&after)?;
    // The client must know the address that `launch` chose.
    let (ip_text, none) = (address.to_string(), []);
    let ip: &[&str] = if ip { &["--ip", &ip_text] } else { &none };
    let command = words(&[&start, ip, flags, &image].concat());
    let explain = format!("launch ps -a; launch logs {name} 2>&1 | tail -n 20");
    Ok(Ok(Plan::new(&LAUNCH_READY, address, command, after, explain)))
}

fn last_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().last().unwrap_or_default().to_owned()
}
