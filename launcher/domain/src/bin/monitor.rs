//! `/usr/lib/launch/monitor`: stays with one app; see `domain::monitor`.
//!
//! A program of its own, small and static, because there is one for each app.
#![forbid(unsafe_code)]

use contract::one_line;
use domain::monitor::run;
use domain::monitor_start::MonitorStart;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let Ok(start) = serde_json::from_str::<MonitorStart>(&argument) else {
        eprintln!("monitor: this program is run by launch, not by hand");
        return ExitCode::from(2);
    };
    match run(&start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("monitor: app {}: {}", start.id, one_line(&error));
            ExitCode::FAILURE
        }
    }
}
