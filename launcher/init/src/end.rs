//! The end of the domain: the report to dom0, and power-off. Nothing here may fail.

use crate::marks;
use contract::{Exit, Report, store};
use rustix::system::{RebootCommand, reboot};
use std::sync::atomic::{AtomicBool, Ordering};
use xen::store::{Store, StoreError};

/// The kernel's console log level, as a file of `/proc`; the first number is the current one.
const LOG_LEVEL: &str = "/proc/sys/kernel/printk";
/// Its value with `quiet` on the kernel's command line.
const QUIET: u32 = 4;

/// Writes the report to xenstore.
///
/// # Errors
/// xenstored refuses, or is not there.
pub fn report(xenstore: &Store, exit: Option<Exit>, out_of_memory: bool) -> Result<(), StoreError> {
    let report = Report {
        version: contract::VERSION,
        exit,
        out_of_memory,
        marks: marks::list(),
        zero_unix_us: marks::zero_unix_us(),
    };
    xenstore.write(store::REPORT, &report.render())
}

/// Powers the domain off; does not return.
pub fn power_off() -> ! {
    hush_kernel();
    // If this fails there is nothing left to do. PID 1 must not end, or the kernel would panic.
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park();
    }
}

/// Keeps the kernel's "Power down" out of the app's log, unless its messages were asked for.
fn hush_kernel() {
    let Ok(levels) = std::fs::read_to_string(LOG_LEVEL) else { return };
    let current = levels.split_whitespace().next().and_then(|level| level.parse::<u32>().ok());
    if current.is_some_and(|level| level <= QUIET) {
        let _ = std::fs::write(LOG_LEVEL, "0");
    }
}

/// Turns a panic, which would take the kernel down and the reason with it, into one line, a
/// report and power-off.
pub fn install_panic_hook() {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    std::panic::set_hook(Box::new(|info| {
        if !PANICKED.swap(true, Ordering::SeqCst) {
            let message = format!("internal error: {info}");
            if let Ok(console) = crate::console::Console::open() {
                console.say(&message);
            }
            // A connection of its own: the one in use may be in the middle of an exchange.
            if let Ok(xenstore) = Store::connect() {
                let exit = Exit::NotStarted { code: 125, message: message.into() };
                let _ = report(&xenstore, Some(exit), false);
            }
            rustix::fs::sync();
        }
        power_off();
    }));
}
