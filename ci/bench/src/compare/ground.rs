//! What all contenders stand on in dom0: the client, the image, a bridge, addresses.

use super::place::Place;
use anyhow::{Context, Result};
use lab::cargo::{Linking, build};
use serde_json::Value;
use std::net::Ipv4Addr;

/// Everything of a comparison that lies in dom0 and is needed while it runs.
pub const FOLDER: &str = "/var/lib/lab-compare";
/// The bridge of the contenders that bring none of their own.
pub const BRIDGE: &str = "comparebr0";
/// Its address.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 112, 0, 1);
/// Bits of its network, which has room for as many containers as a bridge has ports.
pub const PREFIX_BITS: u8 = 16;
/// The client in dom0.
pub const CLIENT: &str = "/var/lib/lab-compare/client";
/// An app of `launch` by which the comparison learns something before it begins.
const PROBE: &str = "compare-probe";
/// What is there before each launch, with what [`Ground::prepare`] made.
pub const LAUNCH_READY: [&str; 3] =
    ["image converted to EROFS", "what its start reads is known from an earlier one", "bridge"];
/// The image's root, mounted read-only in dom0.
pub const LOWER: &str = "/var/lib/lab-compare/lower";

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
    /// User and group that the app runs as.
    pub ids: (u32, u32),
}

/// What is ready for all.
#[derive(Debug)]
pub struct Ground {
    /// dom0.
    pub place: Place,
    /// The lab's registry as dom0 sees it; none where images come from Docker Hub.
    pub registry: Option<String>,
    /// What is started.
    pub image: Image,
    /// The client, as it was built.
    pub client: Vec<u8>,
}

impl Ground {
    /// Puts the client, the image and the bridge into dom0; `take_down` is what [`clear`] is given.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub fn prepare(
        place: Place,
        registry: Option<String>,
        image: &str,
        take_down: &str,
    ) -> Result<Self> {
        clear(&place, take_down)?;
        let client = build_client()?;
        place.write(CLIENT, 0o755, &client)?;
        let image = prepare_image(&place, image)?;
        place.sh(&format!(
            "ip link add {BRIDGE} type bridge
ip address add {GATEWAY}/{PREFIX_BITS} dev {BRIDGE}
ip link set {BRIDGE} up"
        ))?;
        Ok(Self { place, registry, image, client })
    }
}

/// As a static program: dom0's C library need not be ours.
fn build_client() -> Result<Vec<u8>> {
    let built = build("lab-client", "lab-client", Linking::SmallStatic)?;
    std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))
}

/// Has `launch` pull the image, and mounts its disk for those who run it without `launch`.
fn prepare_image(place: &Place, name: &str) -> Result<Image> {
    let digest = place.sh(&format!("launch pull {name} | tail -n 1"))?.trim().to_owned();
    let found = inspect(place, &digest)?;
    let disk = found["disk"].as_str().context("launch inspect names no disk")?.to_owned();
    place.sh(&format!("mkdir -p {LOWER} && mount -t erofs -o ro,loop {disk} {LOWER}"))?;
    place.sh(&learn_start_set(name, &disk)).context("the image's start set is not found out")?;
    let config = found["config"].clone();
    let ids = ids_of(place, config["user"].as_str().unwrap_or_default())?;
    Ok(Image { name: name.to_owned(), digest, disk, config, ids })
}

/// A shell script that starts the image and leaves it running until what its start reads is known, as
/// after the first start that a user lets run.
fn learn_start_set(image: &str, disk: &str) -> String {
    format!(
        "set=$(dirname {disk})/start-set
[ -e $set ] && exit
launch run -d --name {PROBE} {image} >/dev/null
for second in $(seq 90); do [ -e $set ] && break; sleep 1; done
launch rm -f {PROBE} >/dev/null
[ -e $set ]"
    )
}

/// The numbers of the image's user, looked up in its own `/etc/passwd`; root where it names none.
fn ids_of(place: &Place, user: &str) -> Result<(u32, u32)> {
    if user.is_empty() {
        return Ok((0, 0));
    }
    let script = format!("awk -F: '$1 == \"{user}\" {{ print $3, $4 }}' {LOWER}/etc/passwd");
    let text = place.sh(&script)?;
    let ids = text
        .trim()
        .split_once(' ')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.with_context(|| format!("the image's user {user} is not in its /etc/passwd"))
}

fn inspect(place: &Place, name: &str) -> Result<Value> {
    let text = place.sh(&format!("launch inspect {name}"))?;
    let mut found: Value = serde_json::from_str(&text).context("launch inspect gave no JSON")?;
    Ok(found[0].take())
}

/// An app of `launch` that runs.
#[derive(Debug, Clone)]
pub struct App {
    /// Its address.
    pub address: Ipv4Addr,
    /// `pv` or `pvh`.
    pub kind: String,
    /// Its guest kernel, …
    pub kernel: String,
    /// … initramfs …
    pub ramdisk: String,
    /// … and kernel command line.
    pub cmdline: String,
    /// Its memory in MiB.
    pub memory_mib: u64,
}

impl App {
    /// Asks `launch` about it.
    ///
    /// # Errors
    /// When it is not there, or `launch inspect` has another shape.
    pub fn inspect(place: &Place, name: &str) -> Result<Self> {
        let found = inspect(place, name)?;
        Self::parse(&found).with_context(|| format!("launch inspect {name} has another shape"))
    }

    /// Launches the image as a cold launch does, looks at it, and takes it away.
    ///
    /// # Errors
    /// When it does not start.
    pub fn of_probe(ground: &Ground) -> Result<Self> {
        let name = PROBE;
        let image = &ground.image.name;
        ground.place.sh(&format!("launch run -d --memory 64m --name {name} {image} >/dev/null"))?;
        let app = Self::inspect(&ground.place, name);
        ground.place.sh(&format!("launch rm -f {name} >/dev/null"))?;
        app
    }

    fn parse(found: &Value) -> Option<Self> {
        let app = &found["app"];
        let machine = if app["machine"].is_object() { &app["machine"] } else { app };
        let text = |key: &str| Some(machine[key].as_str()?.to_owned());
        Some(Self {
            address: found["state"]["address"].as_str()?.parse().ok()?,
            kind: text("type")?,
            kernel: text("kernel")?,
            ramdisk: text("ramdisk")?,
            cmdline: text("cmdline")?,
            memory_mib: machine["memory_mib"].as_u64()?,
        })
    }
}

/// What is done before each start, and not timed; a shell script.
///
/// Linux asks for an unknown neighbour once a second. An app that is up just after such a question
/// would be found a second late, by this client as by any other; so here it asks every 10 ms, on
/// bridges only. On `launch0` dom0 knows all who are there: it asks for nobody, as a question before
/// the command has come to its address would only wake every guest. [`clear`] gives them their old
/// values back. No answer of an earlier round is left over either.
#[must_use]
pub fn before_each() -> String {
    format!(
        "for folder in /sys/class/net/*/bridge; do
name=${{folder%/bridge}}
name=${{name##*/}}
neighbours=/proc/sys/net/ipv4/neigh/$name
case $name in
launch0) file=$neighbours/mcast_solicit value=0 ;;
*) file=$neighbours/retrans_time_ms value=10 ;;
esac
grep -qs \"^$file \" {FOLDER}/settings || echo \"$file $(cat $file)\" >>{FOLDER}/settings
echo $value >$file
[ $name = launch0 ] || ip neigh flush dev $name 2>/dev/null || true
done
sync"
    )
}

/// Takes everything away that a comparison made, as far as it is there. `take_down` is a shell script
/// that takes its own domains and containers down first.
///
/// # Errors
/// When dom0 does not answer.
pub fn clear(place: &Place, take_down: &str) -> Result<()> {
    let script = format!(
        "cd {FOLDER} 2>/dev/null || exit 0
touch settings
while read -r file value; do echo $value >$file; done <settings
launch rm -f {PROBE} 2>/dev/null
{take_down}
ip link del {BRIDGE} 2>/dev/null
umount {FOLDER}/*/root {LOWER} 2>/dev/null
for device in $(cat loops 2>/dev/null); do losetup -d $device; done
cd / && rm -rf --one-file-system {FOLDER}"
    );
    place.run(&["sh", "-c", &script], &[]).map(drop)
}

/// A line of a script for [`clear`]: removes the apps of `launch` whose names match an extended
/// regular expression.
#[must_use]
pub fn remove_apps(names: &str) -> String {
    format!(
        "launch ps -a 2>/dev/null | awk '{{ print $NF }}' | grep -E '{names}' | xargs -r -n 16 launch rm -f"
    )
}
