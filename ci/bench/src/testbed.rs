//! What all contenders stand on in dom0: the client, the image, a bridge, addresses.

use crate::dom0::Dom0;
use anyhow::{Context, Result, ensure};
use lab::cargo::{Linking, build};
use lab_client::measure::Measure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Everything of a benchmark that lies in dom0 and is needed while it runs.
pub(crate) const FOLDER: &str = "/var/lib/lab-compare";
/// The bridge of the contenders that bring none of their own.
pub(crate) const BRIDGE: &str = "comparebr0";
/// Its address.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 112, 0, 1);
/// Bits of its network, which has room for as many containers as a bridge has ports.
pub(crate) const PREFIX_BITS: u8 = 16;
/// The client in dom0.
pub(crate) const CLIENT: &str = "/var/lib/lab-compare/client";
/// The image's root, mounted read-only in dom0.
pub(crate) const LOWER: &str = "/var/lib/lab-compare/lower";
/// An app of `launch` from which a benchmark learns something before it begins.
const PROBE: &str = "compare-probe";

/// The image that is started, as all contenders know it.
#[derive(Debug)]
pub(crate) struct Image {
    /// As users type it.
    pub(crate) name: String,
    /// The manifest's digest.
    pub(crate) digest: String,
    /// `launch`'s EROFS disk of it in dom0.
    pub(crate) disk: String,
    /// What `launch inspect` calls `config`.
    pub(crate) config: Value,
    /// User and group that the app runs as.
    pub(crate) ids: (u32, u32),
}

/// What is ready for all.
#[derive(Debug)]
pub(crate) struct Testbed<'a> {
    pub(crate) dom0: &'a Dom0,
    pub(crate) image: Image,
    /// The client, as it was built.
    pub(crate) client: Vec<u8>,
}

impl<'a> Testbed<'a> {
    /// Has `work` done with an image. Takes everything away again, also after an error: `take_down` is a shell
    /// script that takes the benchmark's own domains and containers down.
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

    /// Puts the client, the image and the bridge into dom0.
    fn prepare(dom0: &'a Dom0, image: &str) -> Result<Self> {
        // A static program: dom0's C library need not be ours.
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

    /// Has the client start an app by `command` and ask for what `question` says at `address`, until it
    /// answers or `patience_s` seconds have gone by.
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
        serde_json::from_slice(&output.stdout).context("the client gave no JSON")
    }
}

/// Has `launch` pull the image, and mounts its disk for those who run it without `launch`.
fn prepare_image(dom0: &Dom0, name: &str) -> Result<Image> {
    let digest = dom0.sh(&format!("launch pull {name} | tail -n 1"))?.trim().to_owned();
    let mut found = inspect(dom0, &digest)?;
    let disk = found["disk"].as_str().context("launch inspect names no disk")?.to_owned();
    dom0.sh(&format!("mkdir -p {LOWER} && mount -t erofs -o ro,loop {disk} {LOWER}"))?;
    // It runs until what its start reads is known, as after the first start that a user lets run.
    let learn_start_set = format!(
        "set=$(dirname {disk})/start-set
[ -e $set ] && exit
launch run -d --name {PROBE} {name} >/dev/null
for second in $(seq 90); do [ -e $set ] && break; sleep 1; done
launch rm -f {PROBE} >/dev/null
[ -e $set ]"
    );
    dom0.sh(&learn_start_set).context("the image's start set is not found out")?;
    let config = found["config"].take();
    let ids = ids_of(dom0, config["user"].as_str().unwrap_or_default())?;
    Ok(Image { name: name.to_owned(), digest, disk, config, ids })
}

/// The numbers of the image's user, looked up in its own `/etc/passwd`; root where it names none.
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
    let mut found: Value = serde_json::from_str(&text).context("launch inspect gave no JSON")?;
    Ok(found[0].take())
}

/// A domain, as `launch inspect` shows it of an app.
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
    /// Asks `launch` about an app that runs.
    pub(crate) fn inspect(dom0: &Dom0, name: &str) -> Result<Self> {
        let mut found = inspect(dom0, name)?;
        let mut app = found["app"].take();
        app["address"] = found["state"]["address"].take();
        serde_json::from_value(app)
            .with_context(|| format!("launch inspect {name} has another shape"))
    }

    /// Launches the image as a cold launch does, looks at it, and takes it away.
    pub(crate) fn of_probe(testbed: &Testbed<'_>) -> Result<Self> {
        let Testbed { dom0, image, .. } = testbed;
        let run = format!("launch run -d --memory 64m --name {PROBE} {} >/dev/null", image.name);
        dom0.sh(&run)?;
        let guest = Self::inspect(dom0, PROBE);
        dom0.sh(&format!("launch rm -f {PROBE} >/dev/null"))?;
        guest
    }
}

/// What is done before each start, and not timed; a shell script.
///
/// Linux asks for an unknown neighbour once a second. An app that is up just after such a question
/// would be found a second late, by this client as by any other; so here it asks every 10 ms, on
/// bridges only. On `launch0` dom0 knows all neighbours and asks for none: a question before the
/// command has come to its address would only wake every guest. [`clear`] gives the settings their old
/// values back. No answer of an earlier round is left over either.
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

/// Takes everything away that a benchmark made, as far as it is there. `take_down` is a shell script
/// that takes its own domains and containers down first.
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

/// A line of a script for [`clear`]: removes the apps of `launch` whose names match an extended
/// regular expression.
pub(crate) fn remove_apps(names: &str) -> String {
    format!(
        "launch ps -a 2>/dev/null | awk '{{ print $NF }}' | grep -E '{names}' | xargs -r -n 16 launch rm -f"
    )
}
