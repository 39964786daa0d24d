//! `lab-agent`: runs commands in the lab's dom0 for the host, with one TCP connection for each.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    match lab_agent::serve::serve() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-agent: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
