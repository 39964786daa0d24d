//! `launch stop`: stop apps gracefully, then by force.

use crate::commands::each::each;
use crate::failure;
use crate::here::Here;
use anyhow::Result;
use app::Apps;
use app::life;
use std::process::ExitCode;
use std::time::Duration;

/// The apps to stop, and how long they may take.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    patience: Patience,
    /// Stop all apps, as before a shutdown; those whose restart policy says so start with the host
    #[arg(long, conflicts_with_all = ["apps", "time"])]
    at_shutdown: bool,
    /// Names, or beginnings of names or ids
    #[arg(required_unless_present = "at_shutdown")]
    apps: Vec<String>,
}

/// How long apps may take to stop.
#[derive(Debug, clap::Args)]
pub(super) struct Patience {
    /// Seconds until an app is ended by force if it does not stop; -1 means never [default: the app's own,
    /// or 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS",
        allow_hyphen_values = true, value_parser = parse_stop_time)]
    time: Option<StopTime>,
}

impl Patience {
    /// How long each app may take, if given.
    pub(super) fn time(&self) -> Option<Duration> {
        self.time.map(|time| time.0)
    }
}

/// How long an app may take to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StopTime(Duration);

/// Parses seconds; -1 means forever.
fn parse_stop_time(text: &str) -> Result<StopTime, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(StopTime(Duration::MAX)),
        Ok(seconds) => match u64::try_from(seconds) {
            Ok(seconds) => Ok(StopTime(Duration::from_secs(seconds))),
            Err(_) => Err("a time is 0 or more seconds, or -1 for never".into()),
        },
        Err(_) => Err("write a number of seconds".into()),
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let apps = Here::new()?.apps()?;
    if args.at_shutdown {
        return at_shutdown(&apps);
    }
    each(&args.apps, |name| {
        life::stop(&apps, &apps.find(name)?, args.patience.time())?;
        Ok(())
    })
}

fn at_shutdown(apps: &Apps) -> Result<ExitCode> {
    let failed = life::stop_with_host(apps)?;
    let code = if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    for (name, error) in failed {
        failure::report(&anyhow::Error::from(error).context(format!("cannot stop app {name}")));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_time_is_seconds_or_for_ever() {
        assert_eq!(parse_stop_time("3"), Ok(StopTime(Duration::from_secs(3))));
        assert_eq!(parse_stop_time("-1"), Ok(StopTime(Duration::MAX)));
        assert!(parse_stop_time("-2").unwrap_err().contains("-1 for never"));
        assert!(parse_stop_time("soon").unwrap_err().contains("number of seconds"));
    }
}
