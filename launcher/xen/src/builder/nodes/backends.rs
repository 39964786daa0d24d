//! Waits for the end of a domain's backends in dom0's kernel.

use crate::DomId;
use crate::paths::{BACKENDS, backends};
use crate::store::{Store, StoreError};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where Linux lists its backends, as `vbd-DOMID-DEVICE` and `vif-DOMID-DEVICE`.
const DEVICES: &str = "/sys/bus/xen-backend/devices";
/// How long dom0's kernel may take to release its backends.
const TIME: Duration = Duration::from_secs(2);

/// Waits until dom0's kernel has released the backends of a domain whose nodes were removed.
///
/// A backend that was connecting to its frontend writes its last nodes into the removed folder, and so creates the
/// folder again. The kernel then keeps the domain's backends, and with them its memory and disks. So the folder is
/// removed again and again while such backends exist.
pub(in crate::builder) fn let_backends_go(store: &Store, domid: DomId) -> Result<(), StoreError> {
    let until = Instant::now() + TIME;
    while kernel_has_backends(Path::new(DEVICES), domid) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
        for kind in BACKENDS {
            let folder = backends(domid, kind);
            if store.read_optional(&folder)?.is_some() {
                store.remove(&folder)?;
            }
        }
    }
    Ok(())
}

fn kernel_has_backends(devices: &Path, domid: DomId) -> bool {
    let prefixes = BACKENDS.map(|kind| format!("{kind}-{domid}-"));
    let is_ours = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    fs::read_dir(devices).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_ours))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_told_by_the_number_of_their_domain() {
        let devices = tempfile::tempdir().unwrap();
        let has = |number| kernel_has_backends(devices.path(), DomId(number));
        fs::write(devices.path().join("vbd-64-51712"), "").unwrap();
        fs::write(devices.path().join("vif-6-0"), "").unwrap();
        assert_eq!([64, 6, 4, 5].map(has), [true, true, false, false]);
        assert!(!kernel_has_backends(&devices.path().join("none"), DomId(64)));
    }
}
