//! `/usr/lib/launch/hotplug`: connects disks and interfaces of new domains for libxl.
#![forbid(unsafe_code)]

use contract::one_line;
use std::process::ExitCode;
use toolstack::hotplug::{Call, HotplugError, run};

fn main() -> ExitCode {
    let call = Call::parse(std::env::args().nth(1), |name| std::env::var(name).ok());
    match call.and_then(|call| run(&call)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &HotplugError) -> ExitCode {
    eprintln!("hotplug: {}", one_line(error));
    ExitCode::FAILURE
}
