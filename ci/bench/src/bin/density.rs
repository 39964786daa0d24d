//! `ci/density`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    bench::density::main()
}
