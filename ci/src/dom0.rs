//! Makes dom0's root disk, kernel, initrd and Xen from Debian's packages.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{Key, find_or_make, remove_tree};
use crate::host::{as_root, run_quietly, with_progress};
use crate::xen_version::XenVersion;

/// Increase this after a change of how a disk is made.
const RECIPE: &str = "1";

/// Size of the root disk, which is sparse.
const DISK_BYTES: u64 = 8 << 30;

/// The packages in every lab's dom0.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "crun", // for comparisons with launch
    "curl",
    "e2fsprogs",
    "erofs-utils",
    "iproute2",
    "iputils-ping",
    "jq",
    "kmod",
    "linux-image-amd64",
    "netcat-openbsd",
    "nftables",
    "postgresql-client",
    "procps",
    "python3-minimal",
    "redis-tools",
    "strace",
    "udev", // for the initrd
    "util-linux",
    "xen-system-amd64",
    "xenstore-utils",
];

/// Additional software in dom0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Extra {
    /// Container engines and runtimes with their daemons, and the packages of a plain guest
    Containers,
    /// systemd, which starts Debian's own services, udev and networkd, as in a user's dom0
    Systemd,
}

impl Extra {
    fn packages(self, version: XenVersion) -> Vec<&'static str> {
        if self == Self::Systemd {
            return vec!["dbus", "systemd-sysv"];
        }
        let mut packages = vec![
            "aardvark-dns",
            "busybox-static",
            "containerd",
            "docker.io",
            "iptables",
            "netavark",
            "podman",
            "runc",
            "xz-utils",
        ];
        // Before Debian 13 it was part of docker.io.
        if version != XenVersion::V4_17 {
            packages.push("docker-cli");
        }
        packages
    }
}

/// Files that are not needed and take space.
const LEFT_OUT: &[&str] = &["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"];

const HOSTS: &str = "127.0.0.1 localhost\n127.0.1.1 dom0\n10.0.2.2 host\n";

/// The files of a root disk: `disk.img`, `xen`, `vmlinuz`, `initrd`.
#[derive(Debug)]
pub struct Dom0 {
    /// Their folder.
    pub folder: PathBuf,
    /// The hash of their inputs.
    pub key: Key,
}

impl Dom0 {
    /// Finds the files in the cache, or makes them.
    ///
    /// # Errors
    /// A step of making them failed.
    pub fn find_or_make(version: XenVersion, extra: Option<Extra>) -> Result<Self> {
        let mut packages = PACKAGES.to_vec();
        packages.extend(extra.map(|extra| extra.packages(version)).unwrap_or_default());
        let packages = packages.join(",");
        let key = Key::default()
            .with("recipe", RECIPE)
            .with("suite", version.suite())
            .with("packages", &packages)
            .with("hosts", HOSTS);
        let folder = find_or_make("dom0", &key, |folder| {
            let text = format!(
                "making dom0's root disk: Debian {} with Xen {version}, about two minutes",
                version.suite()
            );
            with_progress(&text, || make(version, &packages, folder))
        })?;
        Ok(Self { folder, key })
    }
}

fn make(version: XenVersion, packages: &str, folder: &Path) -> Result<()> {
    // Under /var/tmp, because the user that apt fetches as may not be able to enter the owner's cache.
    let scratch = PathBuf::from(format!("/var/tmp/launch-lab-root.{}", std::process::id()));
    let root = scratch.join("root");
    let result = make_root(version, packages, &root).and_then(|()| {
        take_boot_files(&root, folder)?;
        let disk = folder.join("disk.img");
        fs::File::create(&disk)?.set_len(DISK_BYTES)?;
        // No journal, because the disk is only written in layers that are discarded.
        run_quietly(
            as_root("mke2fs")?
                .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"])
                .args([&root, &disk]),
        )
        .context("cannot make the root disk")?;
        Ok(())
    });
    // The files belong to root, so removing them may need root.
    let removed = run_quietly(as_root("rm")?.args(["-rf", "--one-file-system"]).arg(&scratch));
    result.and(removed.map(drop))
}

fn make_root(version: XenVersion, packages: &str, root: &Path) -> Result<()> {
    let scratch = root.parent().context("no parent folder")?;
    remove_tree(scratch)?;
    fs::create_dir(scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755))?;
    let mut mmdebstrap = as_root("mmdebstrap")?;
    mmdebstrap
        .args(["--variant=minbase", "--format=directory"])
        .arg(format!("--include={packages}"))
        .args(LEFT_OUT.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")))
        .arg("--customize-hook=mkdir -p \"$1/share\" \"$1/stage\" \"$1/var/lib/xenstored\"")
        .arg("--customize-hook=echo nameserver 10.0.2.3 >\"$1/etc/resolv.conf\"")
        .arg(format!("--customize-hook=printf '{}' >\"$1/etc/hosts\"", HOSTS.replace('\n', "\\n")))
        .arg("--customize-hook=echo dom0 >\"$1/etc/hostname\"")
        .arg("--customize-hook=chmod 644 \"$1\"/boot/vmlinuz-* \"$1\"/boot/initrd.img-*")
        .arg(version.suite())
        .arg(root);
    run_quietly(&mut mmdebstrap).context("cannot make dom0's root folder")?;
    Ok(())
}

fn take_boot_files(root: &Path, folder: &Path) -> Result<()> {
    let boot = root.join("boot");
    let xen = run_quietly(Command::new("gzip").arg("-dc").arg(find_file(&boot, "xen-", ".gz")?))?;
    fs::write(folder.join("xen"), xen).context("cannot write xen")?;
    for (prefix, name) in [("vmlinuz-", "vmlinuz"), ("initrd.img-", "initrd")] {
        let from = find_file(&boot, prefix, "")?;
        fs::copy(&from, folder.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn find_file(folder: &Path, prefix: &str, suffix: &str) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(suffix)
        })
        .collect();
    found.sort();
    found.pop().with_context(|| format!("no {prefix}*{suffix} in {}", folder.display()))
}
