//! How memory is used: by Xen, each domain, dom0, the monitors.

use crate::dom0::Dom0;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Reads everything at once. `xl info` counts in MiB, rounded down; `xentop` and Linux in KiB.
const SCRIPT: &str = "xl info free_memory
xentop -b -f -i 1 | awk '$1 ~ /^density-/ { sum += $5 } END { print sum + 0 }'
awk '/^(MemTotal|MemAvailable):/ { print $2 }' /proc/meminfo
cat $(for exe in /proc/[0-9]*/exe; do
[ \"$(readlink $exe)\" = /usr/lib/launch/monitor ] && echo ${exe%exe}smaps_rollup
done) /dev/null 2>/dev/null | awk '/^Pss:/ { sum += $2 } END { print sum + 0 }'";

/// Memory at one point in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Snapshot {
    /// Free memory in Xen.
    pub(crate) free_mib: f64,
    /// Memory of all domains of the benchmark.
    pub(crate) guests_mib: f64,
    pub(crate) dom0_total_mib: f64,
    /// Memory that Linux in dom0 could not free: all except `MemAvailable`.
    pub(crate) dom0_used_mib: f64,
    /// Proportional set size of all monitors.
    pub(crate) monitors_mib: f64,
}

impl Snapshot {
    /// Reads the figures from dom0.
    pub(crate) fn take(dom0: &Dom0) -> Result<Self> {
        let text = dom0.sh(SCRIPT)?;
        Self::parse(&text)
            .with_context(|| format!("dom0 printed its memory in an unknown form: {text:?}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<f64> =
            text.split_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [free, guests, total, available, monitors] = numbers[..] else {
            return None;
        };
        Some(Self {
            free_mib: free,
            guests_mib: guests / 1024.0,
            dom0_total_mib: total / 1024.0,
            dom0_used_mib: (total - available) / 1024.0,
            monitors_mib: monitors / 1024.0,
        })
    }
}

/// The increase since no app ran, in MiB; `pages/density.md` describes the parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The number of running apps.
    pub(crate) running: u16,
    pub(crate) guest_mib: f64,
    pub(crate) xen_mib: f64,
    pub(crate) monitors_mib: f64,
    pub(crate) dom0_mib: f64,
    pub(crate) total_mib: f64,
}

impl Memory {
    /// The difference between two points in time, the second with `running` domains or containers.
    pub(crate) fn between(before: &Snapshot, now: &Snapshot, running: u16) -> Self {
        let taken = before.free_mib - now.free_mib;
        let guest_mib = now.guests_mib - before.guests_mib;
        let monitors_mib = now.monitors_mib - before.monitors_mib;
        let grown = now.dom0_used_mib - before.dom0_used_mib;
        Self {
            running,
            guest_mib,
            xen_mib: taken - guest_mib,
            monitors_mib,
            dom0_mib: grown - monitors_mib,
            total_mib: taken + grown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_what_is_missing_in_xen_and_in_dom0() {
        let before = Snapshot::parse("2000\n0\n1500000\n1300000\n0\n").unwrap();
        let now = Snapshot::parse("1860\n131072\n1500000\n1289760\n1024\n").unwrap();
        let memory = Memory::between(&before, &now, 2);
        assert_eq!((memory.guest_mib, memory.xen_mib), (128.0, 12.0));
        assert_eq!((memory.monitors_mib, memory.dom0_mib), (1.0, 9.0));
        let parts = memory.guest_mib + memory.xen_mib + memory.monitors_mib + memory.dom0_mib;
        assert_eq!(parts, memory.total_mib);
        assert_eq!(Snapshot::parse("2000\n0\n"), None);
    }
}
