//! Measures a guest kernel: the time from its domain's first instruction to its first program.
//!
//! The client is also that program: it prints its clock to the console and ends the domain. In dom0 it unpauses the
//! domain and waits for that line.

use anyhow::{Context, Result, ensure};
use rustix::system::{RebootCommand, reboot};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The start of the line on the console; microseconds follow.
const MARK: &str = "startup-mark ";

/// One boot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// On the guest's own clock, which starts early in its kernel.
    pub guest_ms: f64,
    /// On dom0's clock, from the start of `xl unpause` to the line on the console.
    pub seen_ms: f64,
}

/// The guest's first program.
///
/// # Errors
/// The console cannot be written, or the domain cannot be powered off.
pub fn run_as_init() -> Result<()> {
    let now = clock_gettime(ClockId::Monotonic);
    let us = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
    let mut out = std::io::stdout();
    out.write_all(format!("\n{MARK}{us}\n").as_bytes())?;
    out.flush()?;
    // An immediate power-off could come before the console's output.
    std::thread::sleep(Duration::from_secs(2));
    Ok(reboot(RebootCommand::PowerOff)?)
}

/// Unpauses a domain and waits for the line on its console, the pseudo-terminal `console`.
///
/// # Errors
/// The line does not come in time, or the domain cannot be unpaused.
pub fn watch(domain: &str, console: &str, patience: Duration) -> Result<Boot> {
    let mut console = File::open(console).with_context(|| format!("cannot open {console}"))?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = console.read(&mut buffer) {
            let now = Instant::now();
            text.extend_from_slice(&buffer[..length]);
            if let Some(us) = find_mark(&text) {
                // After the timeout the receiver no longer exists.
                let _ = sender.send((now, us));
                return;
            }
        }
    });
    let begin = Instant::now();
    let mut xl = Command::new("xl");
    let status = xl.args(["unpause", domain]).stdin(Stdio::null()).status();
    ensure!(status.context("cannot start xl")?.success(), "xl unpause {domain} failed");
    let (seen, us) = receiver
        .recv_timeout(patience)
        .with_context(|| format!("{domain} printed no mark within {} s", patience.as_secs()))?;
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a boot")]
    let guest_ms = us as f64 / 1e3;
    Ok(Boot { guest_ms, seen_ms: (seen - begin).as_secs_f64() * 1e3 })
}

fn find_mark(text: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once(MARK)?;
    // Only a complete line, because the number may be incomplete.
    let (number, _) = rest.split_once(['\r', '\n'])?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_once_its_line_is_whole() {
        assert_eq!(find_mark(b"noise\r\nstartup-mark 6745"), None);
        assert_eq!(find_mark(b"noise\r\nstartup-mark 674512\r\n"), Some(674_512));
        assert_eq!(find_mark(b"nothing\n"), None);
    }
}
