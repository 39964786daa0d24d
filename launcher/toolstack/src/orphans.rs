//! Detaches disks whose domains no longer exist.

use crate::disk::attached::LABEL;
use crate::disk::loopdev;
use crate::domains::Domains;
use crate::error::ToolstackError;
use contract::one_line;
use xen::store::Store;

/// Detaches the disks of domains that no longer exist; returns a line for each.
///
/// # Errors
/// Xen or the loop driver cannot be asked.
pub(crate) fn detach_orphans(domains: &Domains) -> Result<Vec<String>, ToolstackError> {
    let devices = loopdev::list(LABEL)?;
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let alive = domains.alive()?;
    let mut store = None;
    let mut repaired = Vec::new();
    for device in devices {
        let path = &device.path;
        let whose = device.label.trim_start_matches(LABEL);
        let domid = whose.split_once('/').and_then(|(domid, _)| domid.parse().ok());
        // The disks of an existing domain are detached with it.
        if domid.is_some_and(|domid| alive.contains(&domid)) {
            continue;
        }
        let store = match &store {
            Some(store) => store,
            None => store.insert(Store::connect()?),
        };
        if has_backend(store, whose)? {
            continue;
        }
        match loopdev::detach(path, &device.label) {
            Ok(()) => {
                let path = path.display();
                repaired.push(format!("detached {path}, which no domain uses any more"));
            }
            Err(error) => repaired.push(one_line(&error)),
        }
    }
    Ok(repaired)
}

/// Whether xenstore still has this disk, because another process is removing its domain.
fn has_backend(store: &Store, whose: &str) -> Result<bool, ToolstackError> {
    let node = format!("/local/domain/0/backend/vbd/{whose}/physical-device");
    Ok(store.read_optional(&node)?.is_some())
}
