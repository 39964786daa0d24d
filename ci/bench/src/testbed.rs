//! The testbed: what all contenders use in dom0, such as the client, the image, a bridge, addresses.

use crate::dom0::Dom0;
use anyhow::{Context, Result, ensure};
use lab::cargo::{Linking, build};
use lab_client::measure::Measure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The folder in dom0 for everything that a running benchmark needs.
pub(crate) const FOLDER: &str = "/var/lib/lab-compare";
/// The bridge of the contenders that have none of their own.
pub(crate) const BRIDGE: &str = "comparebr0";
/// The bridge's address.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 112, 0, 1);
/// The prefix length of its network, which has room for as many containers as a bridge has ports.
pub(crate) const PREFIX_BITS: u8 = 16;
/// The client in dom0.
pub(crate) const CLIENT: &str = "/var/lib/lab-compare/client";
/// The image's root, mounted read-only in dom0.
pub(crate) const LOWER: &str = "/var/lib/lab-compare/lower";
/// An app of `launch` that a benchmark examines before it begins.
const PROBE: &str = "compare-probe";

/// The image to start, in the forms that the contenders need.
#[derive(Debug)]
pub(crate) struct Image {
    /// The name that users type.
    pub(crate) name: String,
    /// The manifest's digest.
    pub(crate) digest: String,
    /// The path of `launch`'s EROFS disk in dom0.
    pub(crate) disk: String,
    /// The `config` that `launch inspect` shows.
    pub(crate) config: Value,
    /// User and group of the app.
    pub(crate) ids: (u32, u32),
}

/// What is ready for all contenders.
#[derive(Debug)]
pub(crate) struct Testbed<'a> {
    pub(crate) dom0: &'a Dom0,
    pub(crate) image: Image,
    /// The client's program.
    pub(crate) client: Vec<u8>,
}

impl<'a> Testbed<'a> {
    /// Runs `work` with an image. Removes everything afterwards, also after an error: `take_down` is a shell script
    /// that removes the benchmark's own domains and containers.
    pub(crate) fn with<T>(
        dom0: &'a Dom0,
        image: &str,
        take_down: &str,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        clear(dom0, take_down)?;
        let result = Self::prepare(dom0, image).and_then(|testbed| work(&testbed));
        let cleared = clear(dom0, take_down);
        let done = result?;
        cleared?;
        Ok(done)
    }

    /// Copies the client to dom0, and prepares the image and the bridge.
    fn prepare(dom0: &'a Dom0, image: &str) -> Result<Self> {
        // A static program, because dom0's C library may differ from the host's.
        let built = build("lab-client", "lab-client", Linking::SmallStatic)?;
        let client =
            std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        dom0.write(CLIENT, 0o755, &client)?;
        let image = prepare_image(dom0, image)?;
        dom0.sh(&format!(
            "ip link add {BRIDGE} type bridge
ip address add {GATEWAY}/{PREFIX_BITS} dev {BRIDGE}
ip link set {BRIDGE} up"
        ))?;
        Ok(Self { dom0, image, client })
    }

    /// Makes the client start an app with `command` and ask `question` at `address` until the app answers, or
    /// `patience_s` seconds have passed.
    pub(crate) fn start(
        &self,
        question: &str,
        address: SocketAddrV4,
        patience_s: u32,
        command: &[String],
    ) -> Result<Measure> {
        let (address, patience) = (address.to_string(), patience_s.to_string());
        let mut args = vec!["measure", question, &address, &patience];
        args.extend(command.iter().map(String::as_str));
        self.ask_client(&args, &[])
    }

    /// Runs the client in dom0 and reads the JSON that it prints.
    pub(crate) fn ask_client<T: DeserializeOwned>(&self, args: &[&str], input: &[u8]) -> Result<T> {
        let argv = [&[CLIENT], args].concat();
        let output = self.dom0.run(&argv, input)?;
        ensure!(output.code == 0, "{}", String::from_utf8_lossy(&output.stderr).trim());
        serde_json::from_slice(&output.stdout).context("the client did not print JSON")
    }
}

/// Makes `launch` pull the image, and mounts its disk for contenders without `launch`.
fn prepare_image(dom0: &Dom0, name: &str) -> Result<Image> {
    let digest = dom0.sh(&format!("launch pull {name} | tail -n 1"))?.trim().to_owned();
    let mut found = inspect(dom0, &digest)?;
    let disk = found["disk"].as_str().context("launch inspect shows no disk")?.to_owned();
    dom0.sh(&format!("mkdir -p {LOWER} && mount -t erofs -o ro,loop {disk} {LOWER}"))?;
    // Runs until its start set is known, as after the first start by a user.
    let learn_start_set = format!(
        "set=$(dirname {disk})/start-set
[ -e $set ] && exit
launch run -d --name {PROBE} {name} >/dev/null
for second in $(seq 90); do [ -e $set ] && break; sleep 1; done
launch rm -f {PROBE} >/dev/null
[ -e $set ]"
    );
    dom0.sh(&learn_start_set).context("the image's start set was not recorded")?;
    let config = found["config"].take();
    let ids = ids_of(dom0, config["user"].as_str().unwrap_or_default())?;
    Ok(Image { name: name.to_owned(), digest, disk, config, ids })
}

/// The numbers of the image's user, from the image's `/etc/passwd`; root if the image names no user.
fn ids_of(dom0: &Dom0, user: &str) -> Result<(u32, u32)> {
    if user.is_empty() {
        return Ok((0, 0));
    }
    let script = format!("awk -F: '$1 == \"{user}\" {{ print $3, $4 }}' {LOWER}/etc/passwd");
    let text = dom0.sh(&script)?;
    let ids = text
        .trim()
        .split_once(' ')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.with_context(|| format!("the image's user {user} is not in its /etc/passwd"))
}

fn inspect(dom0: &Dom0, name: &str) -> Result<Value> {
    let text = dom0.sh(&format!("launch inspect {name}"))?;
    let mut found: Value =
        serde_json::from_str(&text).context("launch inspect did not print JSON")?;
    Ok(found[0].take())
}

/// A domain, as shown by `launch inspect` of its app.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Guest {
    pub(crate) address: Ipv4Addr,
    /// `pv` or `pvh`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) kernel: String,
    pub(crate) ramdisk: String,
    pub(crate) cmdline: String,
    pub(crate) memory_mib: u64,
}

impl Guest {
    /// Asks `launch` about a running app.
    pub(crate) fn inspect(dom0: &Dom0, name: &str) -> Result<Self> {
        let mut found = inspect(dom0, name)?;
        let mut app = found["app"].take();
        app["address"] = found["state"]["address"].take();
        serde_json::from_value(app)
            .with_context(|| format!("launch inspect {name} printed an unknown form"))
    }

    /// Starts the image as a cold launch does, inspects its app, and removes it.
    pub(crate) fn of_probe(testbed: &Testbed<'_>) -> Result<Self> {
        let Testbed { dom0, image, .. } = testbed;
        let run = format!("launch run -d --memory 64m --name {PROBE} {} >/dev/null", image.name);
        dom0.sh(&run)?;
        let guest = Self::inspect(dom0, PROBE);
        dom0.sh(&format!("launch rm -f {PROBE} >/dev/null"))?;
        guest
    }
}

/// A shell script to run before each start, outside of the measured time.
///
/// Linux asks for an unknown neighbour once per second, so every client would find an app up to a second late. Here it
/// asks every 10 ms, but on bridges only. On `launch0` dom0 knows all neighbours; a question before the command has set
/// the address would only wake every guest. [`clear`] restores the settings. The script also removes answers of earlier
/// rounds.
pub(crate) fn before_each() -> String {
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

/// Removes everything that a benchmark made, if it exists. `take_down` is a shell script that first removes the
/// benchmark's own domains and containers.
fn clear(dom0: &Dom0, take_down: &str) -> Result<()> {
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
    dom0.run(&["sh", "-c", &script], &[]).map(drop)
}

/// A line of a script for [`clear`]: removes the apps of `launch` whose names match an extended regular expression.
pub(crate) fn remove_apps(names: &str) -> String {
    format!(
        "launch ps -a 2>/dev/null | awk '{{ print $NF }}' | grep -E '{names}' | xargs -r -n 16 launch rm -f"
    )
}
