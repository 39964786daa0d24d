//! Builds, lists and destroys domains by hand: `domain build KERNEL INITRD NAME …` in dom0.
//!
//! ```sh
//! domain build vmlinux initrd try --pv --memory 64 --vcpus 2 --disk xvda=/dev/loop0
//! domain list
//! domain destroy 5
//! ```

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;
use xen::builder::{self, Disk, Guest, Interface, Kind};
use xen::store::Store;
use xen::{DomId, Hypervisor};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["build", kernel, initrd, name, ref options @ ..] => build(kernel, initrd, name, options),
        ["list"] => list(),
        ["destroy", number] => destroy(number.parse()?),
        _ => Err("usage: domain build KERNEL INITRD NAME [--pv] [--memory MIB] [--vcpus N] \
                  [--cmdline TEXT] [--disk xvdX=DEVICE] [--interface BRIDGE] | list | destroy NUMBER"
            .into()),
    }
}

fn build(kernel: &str, initrd: &str, name: &str, options: &[&str]) -> Outcome {
    let start = Instant::now();
    let (kernel, initrd) = (std::fs::read(kernel)?, std::fs::read(initrd)?);
    let mut uuid = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut uuid)?;
    let mut guest = Guest {
        name,
        uuid,
        kind: Kind::Pvh,
        kernel: &kernel,
        initrd: Some(&initrd),
        cmdline: "console=hvc0 rdinit=/init panic=-1 tsc=reliable",
        memory_mib: 64,
        vcpus: 1,
        disks: &[],
        interfaces: &[],
        nodes: &[],
    };
    let mut disks = Vec::new();
    let mut interfaces = Vec::new();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().copied().ok_or(format!("{option} needs a value"));
        match *option {
            "--pv" => guest.kind = Kind::Pv,
            "--memory" => guest.memory_mib = value()?.parse()?,
            "--vcpus" => guest.vcpus = value()?.parse()?,
            "--cmdline" => guest.cmdline = value()?,
            "--disk" => disks.push(disk(value()?)?),
            "--interface" => interfaces.push(interface(value()?)),
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    guest.disks = &disks;
    guest.interfaces = &interfaces;
    let read = start.elapsed();
    let xen = Hypervisor::open()?;
    let store = Store::connect()?;
    let domain = builder::build(&xen, &store, &guest)?;
    let built = start.elapsed();
    let domid = domain.unpause()?;
    println!("domain {domid}: files read {read:?}, built {built:?}, runs {:?}", start.elapsed());
    Ok(())
}

fn disk(text: &str) -> Result<Disk<'_>, Box<dyn std::error::Error>> {
    let (device, path) = text.split_once('=').ok_or("a disk is xvdX=DEVICE")?;
    let number = std::fs::metadata(path)?.rdev();
    let physical_device = (rustix::fs::major(number), rustix::fs::minor(number));
    Ok(Disk { device, physical_device, read_only: false, params: path, script: "/bin/true" })
}

fn interface(bridge: &str) -> Interface<'_> {
    Interface { mac: [0, 0x16, 0x3e, 1, 2, 3], mtu: 1500, bridge, script: "/bin/true" }
}

fn list() -> Outcome {
    let xen = Hypervisor::open()?;
    let (major, minor) = xen.version();
    println!("Xen {major}.{minor}, {:?}", xen.machine()?);
    for info in xen.domains()? {
        println!("{info:?}");
    }
    Ok(())
}

fn destroy(domid: DomId) -> Outcome {
    let xen = Hypervisor::open()?;
    let info = xen.domain_info(domid)?.ok_or("no such domain")?;
    builder::destroy(&xen, &Store::connect()?, domid, &info.uuid)?;
    Ok(())
}
