//! `/init`: PID 1 of a domain, or the messenger that the kernel starts to tell PID 1 to stop.
//!
//! There is no Rust `main`: its preparations would end the process where standard streams are
//! closed, and the kernel starts the messenger that way.
#![no_main]

use init::{boot, signals};

/// Entry point, called by the C runtime.
// SAFETY: the one `main` of this binary, with the C runtime's signature.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: i32, _argv: *const *const std::ffi::c_char) -> i32 {
    if std::process::id() == 1 {
        boot::run();
    }
    if std::env::args_os().nth(1).is_some_and(|argument| argument == signals::STOP_ARGUMENT) {
        return i32::from(signals::ask_to_stop().is_err());
    }
    eprintln!("launch-init: this is PID 1 of a domain and does nothing elsewhere");
    2
}
