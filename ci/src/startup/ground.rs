//! What all contenders stand on in dom0: the client, the image, a bridge, addresses.

use super::place::Place;
use crate::cargo::{Linking, build_with};
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::Ipv4Addr;

/// Everything of the comparison that lies in dom0 and is needed while it runs.
pub const FOLDER: &str = "/var/lib/startup-time";
/// The bridge of the contenders that bring none of their own.
pub const BRIDGE: &str = "startbr0";
/// Its address; the network has 24 bits.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 111, 0, 1);
/// The client in dom0.
pub const CLIENT: &str = "/var/lib/startup-time/client";
/// The image's root, mounted read-only in dom0.
pub const LOWER: &str = "/var/lib/startup-time/lower";

/// The app that is started, as all contenders know it.
#[derive(Debug, Clone)]
pub struct Image {
    /// As users type it.
    pub name: String,
    /// The manifest's digest.
    pub digest: String,
    /// `launch`'s EROFS disk of it in dom0.
    pub disk: String,
    /// What `launch inspect` calls `config`.
    pub config: Value,
}

/// Puts the client into dom0, as a static program: dom0's C library need not be ours.
///
/// # Errors
/// When it cannot be built or copied.
pub fn install_client(place: &Place) -> Result<()> {
    let flags = ["--no-default-features", "--features", "client"];
    let built = build_with("lab", "lab-startup-client", Linking::SmallStatic, &flags)?;
    let bytes =
        std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    place.write(CLIENT, 0o755, &bytes)
}

/// Has `launch` pull the image, and mounts its disk for those who run it without `launch`.
///
/// # Errors
/// When it cannot be pulled.
pub fn prepare_image(place: &Place, name: &str) -> Result<Image> {
    let digest = place.sh(&format!("launch pull {name} | tail -n 1"))?.trim().to_owned();
    let text = place.sh(&format!("launch inspect {digest}"))?;
    let found: Value = serde_json::from_str(&text).context("launch inspect gave no JSON")?;
    let disk = found[0]["disk"].as_str().context("launch inspect names no disk")?.to_owned();
    place.sh(&format!("mkdir -p {LOWER} && mount -t erofs -o ro,loop {disk} {LOWER}"))?;
    Ok(Image { name: name.to_owned(), digest, disk, config: found[0]["config"].clone() })
}

/// Makes the bridge.
///
/// # Errors
/// When it cannot be made.
pub fn prepare_bridge(place: &Place) -> Result<()> {
    place
        .sh(&format!(
            "ip link add {BRIDGE} type bridge && ip address add {GATEWAY}/24 dev {BRIDGE} && ip link set {BRIDGE} up"
        ))
        .map(drop)
}

/// What is done before each start, and not timed.
///
/// Linux asks for an unknown neighbour once a second. An app that is up just after such a question
/// would be found a second late, by this client as by any other; so here it asks every 10 ms. No
/// answer of an earlier round is left over either.
pub const BEFORE_EACH: &str =
    "for file in /proc/sys/net/ipv4/neigh/*/retrans_time_ms; do echo 10 >$file; done
ip neigh flush all 2>/dev/null || true
sync";

/// Takes everything away that the comparison made, as far as it is there.
///
/// # Errors
/// When dom0 does not answer.
pub fn clear(place: &Place) -> Result<()> {
    let script = format!(
        "cd {FOLDER} 2>/dev/null || exit 0
for file in /proc/sys/net/ipv4/neigh/*/retrans_time_ms; do echo 1000 >$file; done
ip link del {BRIDGE} 2>/dev/null
umount {FOLDER}/*/root {LOWER} 2>/dev/null
cd / && rm -rf --one-file-system {FOLDER}"
    );
    place.run(&["sh", "-c", &script], &[]).map(drop)
}
