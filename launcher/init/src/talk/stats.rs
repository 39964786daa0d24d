//! What the guest uses, from `/proc`.

use contract::talk::Stats;
use std::fs;

/// The kernel's threads are children of this process.
const KTHREADD: u32 = 2;

pub(super) fn read() -> Stats {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(0) << 10
    };
    Stats {
        memory_total_bytes: kib("MemTotal"),
        memory_available_bytes: kib("MemAvailable"),
        processes: processes(),
    }
}

fn processes() -> u64 {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let ordinary =
        |pid: &u32| *pid > KTHREADD && parent(*pid).is_some_and(|parent| parent != KTHREADD);
    numbers.filter(ordinary).count() as u64
}

/// From `/proc/PID/stat`: the field after the name, which may hold anything, and the state.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}
