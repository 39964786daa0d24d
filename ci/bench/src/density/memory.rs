//! What memory is used for: Xen's, each domain's, dom0's, the monitors'.

use crate::compare::place::Place;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Asks everything in one go. `xl info` counts in MiB, rounded down; `xentop` and Linux in KiB.
const SCRIPT: &str = "xl info free_memory
xentop -b -f -i 1 | awk '$1 ~ /^density-/ { sum += $5; n++ } END { print sum + 0, n + 0 }'
awk '/^(MemTotal|MemAvailable):/ { print $2 }' /proc/meminfo
cat $(for exe in /proc/[0-9]*/exe; do
[ \"$(readlink $exe)\" = /usr/lib/launch/monitor ] && echo ${exe%exe}smaps_rollup
done) /dev/null 2>/dev/null | awk '/^Pss:/ { sum += $2; n++ } END { print sum + 0, n + 0 }'";

/// Memory at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Free in Xen, in MiB.
    pub free_mib: f64,
    /// Of all our domains together, in MiB.
    pub guests_mib: f64,
    /// Domains of ours.
    pub guests: u32,
    /// All that Linux in dom0 has.
    pub dom0_total_mib: f64,
    /// What Linux in dom0 could not give away: all less `MemAvailable`.
    pub dom0_used_mib: f64,
    /// Proportional set size of all monitors.
    pub monitors_mib: f64,
    /// Monitors.
    pub monitors: u32,
}

impl Snapshot {
    /// Asks dom0.
    ///
    /// # Errors
    /// When it does not answer as expected.
    pub fn take(place: &Place) -> Result<Self> {
        let text = place.sh(SCRIPT)?;
        Self::parse(&text)
            .with_context(|| format!("dom0 tells its memory in another way: {text:?}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<f64> =
            text.split_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [free, guests, count, total, available, monitors, watched] = numbers[..] else {
            return None;
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        Some(Self {
            free_mib: free,
            guests_mib: guests / 1024.0,
            guests: count as u32,
            dom0_total_mib: total / 1024.0,
            dom0_used_mib: (total - available) / 1024.0,
            monitors_mib: monitors / 1024.0,
            monitors: watched as u32,
        })
    }
}

/// What was added since nothing ran, in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// How many ran.
    pub running: u16,
    /// The guests' own memory.
    pub guest_mib: f64,
    /// Xen's for them: what is missing in its free memory beyond the guests' own.
    pub xen_mib: f64,
    /// The monitors', by proportional set size.
    pub monitors_mib: f64,
    /// The rest of dom0's growth: backends, devices, xenstore; for containers all there is.
    pub dom0_mib: f64,
    /// All of it.
    pub total_mib: f64,
}

impl Memory {
    /// The difference of two moments, `running` domains or containers later.
    #[must_use]
    pub fn between(before: &Snapshot, now: &Snapshot, running: u16) -> Self {
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

    /// The share of each of those that ran.
    #[must_use]
    pub fn of_one(&self) -> Self {
        let count = f64::from(self.running.max(1));
        Self {
            running: 1,
            guest_mib: self.guest_mib / count,
            xen_mib: self.xen_mib / count,
            monitors_mib: self.monitors_mib / count,
            dom0_mib: self.dom0_mib / count,
            total_mib: self.total_mib / count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_what_is_missing_in_xen_and_in_dom0() {
        let before = Snapshot::parse("2000\n0 0\n1500000\n1300000\n0 0\n").unwrap();
        let now = Snapshot::parse("1860\n131072 2\n1500000\n1289760\n1024 2\n").unwrap();
        assert_eq!((now.guests, now.monitors), (2, 2));
        let memory = Memory::between(&before, &now, 2);
        assert_eq!((memory.guest_mib, memory.xen_mib), (128.0, 12.0));
        assert_eq!((memory.monitors_mib, memory.dom0_mib), (1.0, 9.0));
        let parts = memory.guest_mib + memory.xen_mib + memory.monitors_mib + memory.dom0_mib;
        assert_eq!(parts, memory.total_mib);
        assert_eq!(memory.of_one().guest_mib, 64.0);
        assert_eq!(Snapshot::parse("2000\n0 0\n"), None);
    }
}
