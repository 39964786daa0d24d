//! `/init`: PID 1 of a domain, what stands before the app with `--init`, the messenger that the kernel
//! starts to tell PID 1 to stop, or what copies files for `launch cp`.
//!
//! There is no Rust `main`: its preparations would end the process where standard streams are
//! closed, and the kernel starts the messenger that way.
#![no_main]

use init::{boot, copy, reaper, signals};

/// Entry point, called by the C runtime.
// SAFETY: the one `main` of this binary, with the C runtime's signature.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: i32, _argv: *const *const std::ffi::c_char) -> i32 {
    let mut words = std::env::args_os();
    if let Some(code) = reaper::run(words.next().as_deref()) {
        return code;
    }
    if std::process::id() == 1 {
        boot::run();
    }
    let arguments: Vec<_> = words.collect();
    if arguments.first().is_some_and(|argument| argument == signals::STOP_ARGUMENT) {
        return i32::from(signals::ask_to_stop().is_err());
    }
    if let Some(code) = copy::run(&arguments) {
        return code;
    }
    eprintln!("launch-init: this is PID 1 of a domain and does nothing elsewhere");
    2
}
