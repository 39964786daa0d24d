//! `ci/startup-time`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    bench::startup::main()
}
