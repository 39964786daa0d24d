//! Plain `xl create` with Xen's stock scripts.

use super::plan::{Here, Plan, own_address, words};
use crate::dom0::Dom0;
use crate::testbed::{BRIDGE, FOLDER, GATEWAY, Guest, LOWER, PREFIX_BITS, Testbed};
use anyhow::{Context, Result};
use lab::cpio::Archive;
use serde_json::Value;

/// The modules with which Debian's kernel reaches its disk and network and mounts its root.
const MODULES: &str = "xen-blkfront xen-netfront erofs overlay";
/// Memory of that guest in MiB. Debian's kernel with a few modules does not fit into 64 MiB.
pub(crate) const MEMORY_MIB: u64 = 256;

/// Prepares Debian's kernel, an initramfs with its modules and busybox, and the same root.
pub(crate) fn prepare_stock(name: &str, testbed: &Testbed<'_>) -> Result<Here> {
    let dom0 = testbed.dom0;
    let kernel = debian_kernel(dom0)?;
    for (needed, hint) in [
        ("xl", "Debian: xen-utils"),
        ("/bin/busybox", "Debian: busybox-static"),
        (kernel.as_str(), "Debian: linux-image-amd64"),
    ] {
        if !dom0.has(needed)? {
            return Ok(Err(format!("{needed} is missing ({hint})")));
        }
    }
    let (address, ramdisk) = (own_address(name), format!("{FOLDER}/{name}/initrd"));
    let command = full_command(testbed)?;
    let init = render_init(&testbed.image.config, &command, &address.to_string());
    dom0.write(&ramdisk, 0o644, &stock_initrd(dom0, &init)?)?;
    let disk = loop_device(dom0, &testbed.image.disk, true)?;
    let (kind, cmdline, memory_mib) = ("pvh".into(), "console=hvc0 quiet".into(), MEMORY_MIB);
    let guest = Guest { address, kind, kernel, ramdisk, cmdline, memory_mib };
    let disks = format!("\"phy:{disk},xvda,r\"");
    let ready = [
        "the image's root: launch's EROFS on a loop device",
        "an initramfs with Debian's modules and busybox; writes go to memory",
        "bridge",
    ];
    Ok(Ok(xl_create(name, &write_config(dom0, name, &guest, &disks)?, &ready)))
}

/// Prepares `xl create` of the same domain that a cold launch builds, with stock scripts. Its app gets no orders and
/// never answers; only the return is measured.
pub(crate) fn prepare_same_domain(testbed: &Testbed<'_>) -> Result<Plan> {
    let guest = Guest::of_probe(testbed)?;
    let (dom0, name) = (testbed.dom0, "xl-same");
    let writes = format!("{FOLDER}/{name}/writable");
    dom0.sh(&format!("mkdir -p {FOLDER}/{name} && truncate -s 1G {writes}"))?;
    let root = loop_device(dom0, &testbed.image.disk, true)?;
    let writes = loop_device(dom0, &writes, false)?;
    let disks = format!("\"phy:{root},xvda,r\", \"phy:{writes},xvdb,w\"");
    let path = write_config(dom0, name, &guest, &disks)?;
    Ok(xl_create(name, &path, &["both disks on loop devices", "bridge"]))
}

/// The kernel that dom0 runs.
pub(crate) fn debian_kernel(dom0: &Dom0) -> Result<String> {
    Ok(format!("/boot/vmlinuz-{}", dom0.sh("uname -r")?.trim()))
}

/// Writes a domain's config and returns its path. A domain without disks also has no interface.
pub(crate) fn write_config(dom0: &Dom0, name: &str, guest: &Guest, disks: &str) -> Result<String> {
    let Guest { kind, kernel, ramdisk, cmdline, memory_mib, .. } = guest;
    let vif = if disks.is_empty() { String::new() } else { format!("\"bridge={BRIDGE}\"") };
    let config = format!(
        "type = \"{kind}\"
name = \"{name}\"
kernel = \"{kernel}\"
ramdisk = \"{ramdisk}\"
cmdline = \"{cmdline}\"
memory = {memory_mib}
vcpus = 1
disk = [{disks}]
vif = [{vif}]
"
    );
    let path = format!("{FOLDER}/{name}/domain.cfg");
    dom0.write(&path, 0o644, config.as_bytes())?;
    Ok(path)
}

/// Starts the domain `name` from the config at `path`.
fn xl_create(name: &str, path: &str, ready: &[&str]) -> Plan {
    let command = words(&["xl", "create", path]);
    let after = format!("xl destroy {name} 2>/dev/null || true");
    let explain = format!("xl list; tail -n 20 /var/log/xen/*{name}*.log");
    Plan::new(ready, own_address(name), command, after, explain)
}

/// A loop device for a file; [`crate::testbed::clear`] detaches it.
fn loop_device(dom0: &Dom0, file: &str, read_only: bool) -> Result<String> {
    let flag = if read_only { "-r" } else { "" };
    let script = format!(
        "device=$(losetup {flag} --find --show {file})
echo $device >>{FOLDER}/loops
echo $device"
    );
    Ok(dom0.sh(&script)?.trim().to_owned())
}

fn stock_initrd(dom0: &Dom0, init: &str) -> Result<Vec<u8>> {
    let folders = ["bin", "dev", "lower", "modules", "newroot", "proc", "sys", "writes"];
    let mut archive = Archive::with_init(&folders, init.as_bytes())?;
    archive.add_file("bin/busybox", 0o755, &read(dom0, "cat /bin/busybox")?)?;
    let list = "| sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }'";
    let list = dom0.sh(&format!("modprobe --show-depends --all {MODULES} {list}"))?;
    for (number, path) in list.split_whitespace().enumerate() {
        let how = if path.ends_with(".xz") { "xz -dc" } else { "cat" };
        let module = read(dom0, &format!("{how} {path}"))?;
        archive.add_file(&format!("modules/{number:02}.ko"), 0o644, &module)?;
    }
    archive.finish()
}

fn read(dom0: &Dom0, script: &str) -> Result<Vec<u8>> {
    let output = dom0.run(&["sh", "-c", script], &[])?;
    anyhow::ensure!(output.code == 0 && !output.stdout.is_empty(), "{script} printed nothing");
    Ok(output.stdout)
}

/// The image's command, with its program as a full path, because busybox's `switch_root` ignores PATH.
fn full_command(testbed: &Testbed<'_>) -> Result<Vec<String>> {
    let config = &testbed.image.config;
    let mut command = [list(config, "entrypoint"), list(config, "cmd")].concat();
    let program = command.first_mut().context("the image has no command")?;
    if !program.contains('/') {
        let env = list(config, "env");
        let path = env.iter().find_map(|variable| variable.strip_prefix("PATH="));
        let script = format!(
            "for folder in $(echo {} | tr : ' '); do
if [ -x {LOWER}$folder/{program} ]; then echo $folder/{program}; exit; fi
done
exit 1",
            path.unwrap_or("/usr/sbin:/usr/bin:/sbin:/bin")
        );
        *program = testbed.dom0.sh(&script)?.trim().to_owned();
    }
    Ok(command)
}

fn list(config: &Value, key: &str) -> Vec<String> {
    let list = config[key].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
}

/// The guest's first program: loads the modules, mounts the root, sets up the network, becomes the app.
fn render_init(config: &Value, command: &[String], address: &str) -> String {
    let quote = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
    let quote_all = |words: &[String]| words.iter().map(quote).collect::<Vec<_>>().join(" ");
    let (env, command) = (quote_all(&list(config, "env")), quote_all(command));
    format!(
        "#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do $b insmod $module; done
$b ip link set lo up
$b ip address add {address}/{PREFIX_BITS} dev eth0
$b ip link set eth0 up
$b ip route add default via {GATEWAY}
while [ ! -b /dev/xvda ]; do $b usleep 10000; done
$b mount -t erofs -o ro /dev/xvda /lower
$b mount -t tmpfs writes /writes
$b mkdir /writes/upper /writes/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/writes/upper,workdir=/writes/work root /newroot
for folder in dev proc sys; do $b mount --move /$folder /newroot/$folder; done
$b ln -s /proc/self/fd/1 /newroot/dev/stdout 2>/dev/null
$b ln -s /proc/self/fd/2 /newroot/dev/stderr 2>/dev/null
exec $b env -i {env} $b switch_root /newroot {command}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_guest_ends_as_the_image_s_app() {
        let config = json!({"env": ["PATH=/bin"]});
        let command = ["/bin/nginx", "-g", "daemon off; # it's"].map(String::from);
        let init = render_init(&config, &command, "10.0.0.2");
        let last = init.lines().last().unwrap();
        let end =
            "env -i 'PATH=/bin' $b switch_root /newroot '/bin/nginx' '-g' 'daemon off; # it'\\''s'";
        assert!(last.ends_with(end), "{last}");
        assert!(init.contains("address add 10.0.0.2/16"));
    }
}
