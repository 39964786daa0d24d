//! `/usr/lib/launch/monitor`: the process beside one app; see `app::monitor`.
//!
//! It is a separate program, small and static, because one runs for each app.
#![forbid(unsafe_code)]

use app::life::MonitorStart;
use app::monitor::run;
use contract::one_line;
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
