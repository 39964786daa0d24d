//! The resources that an app's domain uses, as counted by Xen and dom0's backends.

use crate::spec::Shape;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use xen::DomId;

/// The folder in which dom0's kernel shows its network interfaces.
const INTERFACES: &str = "/sys/class/net";
const BACKENDS: &str = "/sys/bus/xen-backend/devices";
/// The unit of a block backend's counters, in bytes.
const SECTOR_BYTES: u64 = 512;
const PAGE_BYTES: u64 = 4096;

/// The resources that a domain has used since it was built.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// When the figures were read.
    pub at: Instant,
    /// Processor time of all vCPUs.
    pub cpu_time: Duration,
    /// Number of online vCPUs.
    pub vcpus: u32,
    /// The memory that the domain has now.
    pub memory_bytes: u64,
    /// The most memory that the domain may have.
    pub memory_limit_bytes: u64,
    /// Bytes that the guest received.
    pub received_bytes: u64,
    /// Bytes that the guest sent.
    pub sent_bytes: u64,
    /// Bytes that the guest read from its disks.
    pub read_bytes: u64,
    /// Bytes that the guest wrote to its disks.
    pub written_bytes: u64,
}

impl Usage {
    /// The processor time used since `before`, in percent of one processor.
    #[must_use]
    pub fn cpu_percent_since(&self, before: &Self) -> f64 {
        let passed = self.at.saturating_duration_since(before.at).as_secs_f64();
        let used = self.cpu_time.saturating_sub(before.cpu_time).as_secs_f64();
        if passed > 0.0 { used / passed * 100.0 } else { 0.0 }
    }

    /// Reads what a domain of this shape has used, from `info` of Xen and from dom0's backends.
    pub(crate) fn read(domid: DomId, info: &xen::DomainInfo, shape: &Shape) -> Self {
        let memory_bytes = info.total_pages * PAGE_BYTES;
        let (received_bytes, sent_bytes) = network_bytes(Path::new(INTERFACES), domid);
        let (read_bytes, written_bytes) = block_bytes(Path::new(BACKENDS), domid);
        Self {
            at: Instant::now(),
            cpu_time: info.cpu_time,
            vcpus: info.online_vcpus,
            memory_bytes,
            memory_limit_bytes: (u64::from(shape.memory_mib) << 20).max(memory_bytes),
            received_bytes,
            sent_bytes,
            read_bytes,
            written_bytes,
        }
    }
}

/// The bytes on all interfaces of a domain: to the guest, and from it. Dom0's end of a vif counts what the guest
/// receives as sent.
fn network_bytes(interfaces: &Path, domid: DomId) -> (u64, u64) {
    let begin = format!("vif{domid}.");
    let folders = entries(interfaces).filter(|(name, _)| name.starts_with(&begin));
    folders.fold((0, 0), |(to, from), (_, path)| {
        let counter = |name: &str| number(&path.join("statistics").join(name));
        (to + counter("tx_bytes"), from + counter("rx_bytes"))
    })
}

/// The bytes that all disks of a domain read and wrote.
fn block_bytes(backends: &Path, domid: DomId) -> (u64, u64) {
    let begin = format!("vbd-{domid}-");
    let folders = entries(backends).filter(|(name, _)| name.starts_with(&begin));
    folders.fold((0, 0), |(read, written), (_, path)| {
        let counter = |name: &str| number(&path.join("statistics").join(name)) * SECTOR_BYTES;
        (read + counter("rd_sect"), written + counter("wr_sect"))
    })
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, std::path::PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// The value of a counter; 0 if the counter does not exist.
fn number(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_one_domain_are_summed_up() {
        let root = tempfile::tempdir().unwrap();
        let write = |device: &str, name: &str, value: &str| {
            let folder = root.path().join(device).join("statistics");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), value).unwrap();
        };
        write("vif7.0", "tx_bytes", "100\n");
        write("vif7.0", "rx_bytes", "30\n");
        write("vif70.0", "tx_bytes", "9999\n");
        write("vbd-7-51712", "rd_sect", "8\n");
        write("vbd-7-51728", "rd_sect", "2\n");
        write("vbd-7-51728", "wr_sect", "4\n");
        write("vbd-71-51728", "wr_sect", "9999\n");
        assert_eq!(network_bytes(root.path(), DomId(7)), (100, 30));
        assert_eq!(block_bytes(root.path(), DomId(7)), (5120, 2048));
        assert_eq!(block_bytes(&root.path().join("none"), DomId(7)), (0, 0));
    }

    #[test]
    fn processor_time_is_told_in_percent_of_one_processor() {
        let before = Usage {
            at: Instant::now(),
            cpu_time: Duration::from_secs(10),
            vcpus: 2,
            memory_bytes: 0,
            memory_limit_bytes: 0,
            received_bytes: 0,
            sent_bytes: 0,
            read_bytes: 0,
            written_bytes: 0,
        };
        let at = before.at + Duration::from_secs(2);
        let now = Usage { at, cpu_time: Duration::from_secs(13), ..before };
        assert!((now.cpu_percent_since(&before) - 150.0).abs() < 1e-9);
        assert!(before.cpu_percent_since(&now).abs() < 1e-9);
    }
}
