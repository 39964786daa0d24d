//! `ci/throughput`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    bench::throughput::main()
}
