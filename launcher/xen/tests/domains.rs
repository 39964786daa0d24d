//! Tests building domains on a real Xen: run as root in dom0, with the guest kernel in `/usr/lib/launch/vmlinux` or at
//! the path in `LAUNCH_KERNEL`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};
use xen::builder::{self, BuildError, Devices, Guest, Kind, Nodes, PausedDomain, Payload};
use xen::store::Store;
use xen::{CallError, DomId, Hypervisor, ShutdownReason, XenError};

struct Dom0 {
    xen: Hypervisor,
    store: Store,
    kernel: File,
}

/// `None`, with the reason printed, if no domain can be built.
fn dom0() -> Option<Dom0> {
    let xen = match Hypervisor::open() {
        Ok(xen) => xen,
        Err(error @ XenError::Call(CallError::Absent(_) | CallError::NotPermitted(_))) => {
            println!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let path = std::env::var("LAUNCH_KERNEL").unwrap_or("/usr/lib/launch/vmlinux".to_owned());
    match File::open(&path) {
        Ok(kernel) => Some(Dom0 { xen, store: Store::connect().unwrap(), kernel }),
        Err(error) => {
            println!("skipped: no guest kernel in {path} ({error})");
            None
        }
    }
}

fn uuid() -> [u8; 16] {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// A guest that boots until it looks for its init, and then crashes.
fn guest<'a>(dom0: &'a Dom0, name: &'a str, kind: Kind) -> Guest<'a> {
    Guest {
        name,
        uuid: uuid(),
        kind,
        kernel: Payload::new(&dom0.kernel).unwrap(),
        initrd: None,
        cmdline: "console=hvc0 quiet panic=-1 tsc=reliable",
        memory_mib: 64,
        vcpus: 1,
    }
}

fn build<'a>(dom0: &'a Dom0, guest: &Guest<'a>) -> Result<PausedDomain<'a>, BuildError> {
    let nodes = Nodes { before: &[], together: &[("vm-data/launch/test", "for the guest")] };
    let devices = Devices { nodes, ..Devices::default() };
    let paused = builder::build(&dom0.xen, &dom0.store, guest)?.introduce()?;
    builder::attach(&dom0.store, paused.domid(), &devices)?;
    Ok(paused)
}

fn nothing_is_left(dom0: &Dom0, domid: DomId) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while dom0.xen.domain_info(domid).unwrap().is_some() {
        assert!(Instant::now() < deadline, "domain {domid} still exists");
        std::thread::sleep(Duration::from_millis(50));
    }
    for path in ["/local/domain", "/libxl", "/local/domain/0/backend/console"] {
        let left = dom0.store.read_optional(&format!("{path}/{domid}")).unwrap();
        assert_eq!(left, None, "{path}/{domid} still exists");
    }
}

fn boots_to_its_init(name: &str, kind: Kind, vcpus: u32) {
    let Some(dom0) = dom0() else { return };
    let guest = Guest { vcpus, ..guest(&dom0, name, kind) };
    let paused = build(&dom0, &guest).unwrap();
    let domid = paused.domid();
    let info = dom0.xen.domain_info(domid).unwrap().unwrap();
    assert!(info.paused && info.shutdown.is_none());
    assert_eq!((info.uuid, info.hvm), (guest.uuid, kind == Kind::Pvh));
    assert!((16384..16384 + 256).contains(&info.total_pages), "{info:?}");
    let home = format!("/local/domain/{domid}");
    assert_eq!(dom0.store.read(&format!("{home}/name")).unwrap(), name);
    assert!(dom0.store.is_domain_introduced(domid).unwrap());

    paused.unpause().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let reason = loop {
        let info = dom0.xen.domain_info(domid).unwrap().unwrap();
        if let Some(reason) = info.shutdown {
            break reason;
        }
        assert!(Instant::now() < deadline, "the guest does not boot: {info:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    // Without an init Linux panics, and reports that to Xen.
    assert_eq!(reason, ShutdownReason::Crash);
    builder::destroy(&dom0.xen, &dom0.store, domid, &guest.uuid).unwrap();
    nothing_is_left(&dom0, domid);
}

#[test]
fn a_pvh_guest_boots_to_its_init() {
    boots_to_its_init("test-pvh", Kind::Pvh, 1);
}

#[test]
fn a_pv_guest_boots_to_its_init() {
    boots_to_its_init("test-pv", Kind::Pv, 1);
}

#[test]
fn a_pv_guest_of_two_vcpus_boots_to_its_init() {
    boots_to_its_init("test-pv-2", Kind::Pv, 2);
}

#[test]
fn a_guest_that_is_never_unpaused_leaves_nothing() {
    let Some(dom0) = dom0() else { return };
    let guest = guest(&dom0, "test-dropped", Kind::Pvh);
    let paused = build(&dom0, &guest).unwrap();
    let domid = paused.domid();
    drop(paused);
    nothing_is_left(&dom0, domid);
}

#[test]
fn more_memory_than_xen_has_is_refused_with_both_figures_and_undone() {
    let Some(dom0) = dom0() else { return };
    for kind in [Kind::Pvh, Kind::Pv] {
        let before = dom0.xen.domains().unwrap().len();
        let free_mib = dom0.xen.host().unwrap().free_pages / 256;
        let memory_mib = u32::try_from(free_mib).unwrap() + 100;
        let guest = Guest { memory_mib, ..guest(&dom0, "test-large", kind) };
        let error = build(&dom0, &guest).unwrap_err();
        assert!(matches!(error, BuildError::OutOfMemory { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("takes {memory_mib}")) || text.contains("MiB"), "{text}");
        assert_eq!(dom0.xen.domains().unwrap().len(), before);
    }
}

#[test]
fn a_kernel_that_does_not_fit_or_is_none_is_refused_and_undone() {
    let Some(dom0) = dom0() else { return };
    let before = dom0.xen.domains().unwrap().len();
    let cut = File::from(memfd_create("cut", MemfdFlags::CLOEXEC).unwrap());
    std::io::copy(&mut (&dom0.kernel).take(100_000), &mut &cut).unwrap();
    for kind in [Kind::Pvh, Kind::Pv] {
        let small = Guest { memory_mib: 8, ..guest(&dom0, "test-small", kind) };
        let error = build(&dom0, &small).unwrap_err();
        assert!(matches!(error, BuildError::MemoryTooSmall { memory_mib: 8, .. }), "{error}");
        let cut = Guest { kernel: Payload::new(&cut).unwrap(), ..guest(&dom0, "test-cut", kind) };
        let error = build(&dom0, &cut).unwrap_err();
        assert!(matches!(error, BuildError::Kernel(_)), "{error}");
    }
    assert_eq!(dom0.xen.domains().unwrap().len(), before);
}

#[test]
fn destroying_what_is_gone_is_no_error() {
    let Some(dom0) = dom0() else { return };
    builder::destroy(&dom0.xen, &dom0.store, DomId(32_000), &uuid()).unwrap();
}
