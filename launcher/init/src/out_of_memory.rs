//! Processes that the kernel ends for want of memory: told in the app's log as it happens, with the
//! way out, and in the report at the app's end.

use crate::console::Console;
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::{Errno, read};
use std::fs::read_to_string;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use xen::store::Store;

/// The kernel's messages, one at each read.
const MESSAGES: &str = "/dev/kmsg";
/// The domain's memory in KiB, as dom0 gives it.
const MEMORY: &str = "memory/target";
/// The longest message that the kernel gives to a reader.
const MESSAGE_BYTES: usize = 2048;

/// Who looks out for it.
#[derive(Debug, Default)]
pub struct OutOfMemory {
    messages: Option<OwnedFd>,
    told: bool,
}

impl OutOfMemory {
    /// Looks out from now on. Without the kernel's messages only the end of the app tells.
    #[must_use]
    pub fn look_out() -> Self {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let messages = open(MESSAGES, flags, Mode::empty()).ok();
        let messages = messages.filter(|file| seek(file, SeekFrom::End(0)).is_ok());
        Self { messages, told: false }
    }

    /// What to wait for.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.messages.as_ref().map(AsFd::as_fd)
    }

    /// Tells on the console which processes the kernel has ended lately.
    pub fn tell(&mut self, console: &Console, xenstore: Option<&Store>) {
        let Some(messages) = &self.messages else { return };
        let mut buffer = [0; MESSAGE_BYTES];
        loop {
            match read(messages, &mut buffer[..]) {
                Ok(count) if count > 0 => {
                    if let Some(name) = ended_process(&String::from_utf8_lossy(&buffer[..count])) {
                        console.say(&line(name, xenstore));
                        self.told = true;
                    }
                }
                // EPIPE: messages were lost, and there are newer ones.
                Err(Errno::INTR | Errno::PIPE) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Whether the kernel has ended any process for want of memory; tells so if it has not been told.
    pub fn conclude(&mut self, console: &Console, xenstore: Option<&Store>) -> bool {
        self.tell(console, xenstore);
        let happened =
            self.told || read_to_string("/proc/vmstat").is_ok_and(|text| counts_any(&text));
        if happened && !self.told {
            console.say(&line("a process", xenstore));
        }
        happened
    }
}

fn line(who: &str, xenstore: Option<&Store>) -> String {
    let kib =
        xenstore.and_then(|xenstore| xenstore.read_optional(MEMORY).ok()??.parse::<u64>().ok());
    let memory = kib.map_or_else(String::new, |kib| format!("; the domain has {} MiB", kib >> 10));
    format!("out of memory: the kernel has ended {who}{memory}; give it more with --memory")
}

/// The name of the process that a message of the kernel's own says it has ended. A process may write
/// messages too: the kernel marks these with a number of 8 and more at the beginning.
fn ended_process(message: &str) -> Option<&str> {
    let (header, text) = message.split_once(';')?;
    let priority: u32 = header.split(',').next()?.parse().ok()?;
    let rest = text.strip_prefix("Out of memory")?.split_once(": Killed process ")?.1;
    let (_, rest) = rest.split_once(" (")?;
    // A name may have brackets itself.
    let end = rest.find(") total-vm:")?;
    (priority < 8).then_some(&rest[..end])
}

fn counts_any(vmstat: &str) -> bool {
    vmstat.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_where_the_kernel_itself_says_that_it_ended_it() {
        let said =
            "Out of memory: Killed process 71 (a (b) c) total-vm:90420kB, anon-rss:1kB, UID:0\n";
        assert_eq!(ended_process(&format!("3,412,90881,-;{said}")), Some("a (b) c"));
        assert_eq!(ended_process(&format!("11,412,90881,-;{said}")), None);
        assert_eq!(ended_process("6,1,0,-;Linux version 6.12\n"), None);
        assert_eq!(
            line("x", None),
            "out of memory: the kernel has ended x; give it more with --memory"
        );
    }

    #[test]
    fn the_kernels_count_tells_whether_it_ended_any() {
        assert!(counts_any("pgfault 9\noom_kill 2\n"));
        assert!(!counts_any("pgfault 9\noom_kill 0\n"));
    }
}
