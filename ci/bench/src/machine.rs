//! Describes the machine of the measurement.

use crate::dom0::Dom0;
use anyhow::Result;
use std::collections::BTreeMap;

/// Facts about dom0: a name and the shell command that prints the value. A missing program prints nothing.
const FACTS: [(&str, &str); 13] = [
    ("processor", "sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1"),
    ("processors of Xen", "xl info nr_cpus"),
    ("processors of dom0", "nproc"),
    ("memory of Xen, MiB", "xl info total_memory"),
    ("memory of dom0, MiB", "awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo"),
    ("Xen", "echo \"$(xl info xen_major).$(xl info xen_minor)$(xl info xen_extra)\""),
    ("xenstored", "pgrep -l 'xenstored$' | cut -d ' ' -f 2"),
    ("kernel of dom0", "uname -rv"),
    ("crun", "crun --version | head -n 1"),
    ("runc", "runc --version | head -n 1"),
    ("podman", "podman --version"),
    ("docker", "docker version -f 'client {{.Client.Version}}, server {{.Server.Version}}'"),
    ("launch", "launch --version"),
];

const HOST_FACTS: [(&str, &str); 3] = [
    ("host: processor", FACTS[0].1),
    ("host: processors", "nproc"),
    ("host: QEMU", "qemu-system-x86_64 --version | head -n 1"),
];

/// Reads the facts of dom0 and, if dom0 is a lab's, also those of this machine.
pub(crate) fn facts(dom0: &Dom0) -> Result<BTreeMap<String, String>> {
    let of_dom0 = FACTS.iter().map(|fact| (dom0, fact));
    let hosts: &[_] = if let Dom0::Lab(..) = dom0 { &HOST_FACTS } else { &[] };
    let mut all = BTreeMap::new();
    for (machine, (name, command)) in of_dom0.chain(hosts.iter().map(|fact| (&Dom0::Here, fact))) {
        let output = machine.run(&["sh", "-c", command], &[])?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.code == 0 && !text.is_empty() {
            all.insert((*name).to_owned(), text);
        }
    }
    Ok(all)
}
