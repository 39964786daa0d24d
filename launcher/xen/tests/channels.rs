//! Tests event channels and grants on a real Xen, between dom0 and itself: run as root in dom0.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::time::Duration;
use xen::{DomId, EventChannels, GrantRef, SharedMemory};

fn has(device: &str) -> bool {
    let there = Path::new(device).exists();
    if !there {
        println!("skipped: no {device}; not in a Xen domain");
    }
    there
}

#[test]
fn a_notification_reaches_the_other_end_once_and_not_its_own() {
    if !has("/dev/xen/evtchn") {
        return;
    }
    let (server, client) = (EventChannels::open().unwrap(), EventChannels::open().unwrap());
    let ours = server.allocate(DomId::DOM0).unwrap();
    let theirs = client.bind(DomId::DOM0, ours).unwrap();
    // Binding may itself notify; take that notification.
    while client.wait(Some(Duration::from_millis(50))).unwrap().is_some() {}
    while server.wait(Some(Duration::from_millis(50))).unwrap().is_some() {}

    client.notify(theirs).unwrap();
    client.notify(theirs).unwrap();
    assert_eq!(server.wait(Some(Duration::from_secs(5))).unwrap(), Some(ours));
    assert_eq!(client.wait(Some(Duration::ZERO)).unwrap(), None);
    server.notify(ours).unwrap();
    assert_eq!(client.wait(Some(Duration::from_secs(5))).unwrap(), Some(theirs));

    client.close(theirs).unwrap();
    let error = client.notify(theirs).unwrap_err();
    assert!(error.to_string().starts_with("cannot notify"), "{error}");
    let error = client.bind(DomId(32_000), ours).unwrap_err();
    assert!(error.to_string().starts_with("cannot bind"), "{error}");
}

#[test]
fn shared_pages_show_both_sides_the_same_bytes() {
    if !has("/dev/xen/gntalloc") || !has("/dev/xen/gntdev") {
        return;
    }
    let (ours, references) = SharedMemory::share(DomId::DOM0, 3).unwrap();
    assert_eq!((ours.size(), references.len()), (3 * 4096, 3));
    let theirs = SharedMemory::map(DomId::DOM0, &references, true).unwrap();
    ours.write(4090, b"across two pages");
    let mut seen = [0; 16];
    theirs.read(4090, &mut seen);
    assert_eq!(&seen, b"across two pages");
    theirs.store(8192, 0x1234_5678);
    assert_eq!(ours.load(8192), 0x1234_5678);
    drop(theirs);
    drop(ours);
    let error = SharedMemory::map(DomId::DOM0, &[GrantRef(u32::MAX)], false).unwrap_err();
    assert!(error.to_string().starts_with("cannot map"), "{error}");
}
