//! `launch ps`: list apps.

use crate::here::{Here, print};
use crate::table;
use anyhow::Result;
use domain::{App, Phase};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Which apps, and how much of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut apps = Here::new()?.apps()?.list()?;
    apps.retain(|app| args.all || matches!(app.state.phase, Phase::Running | Phase::Starting));
    if args.quiet {
        print(&apps.iter().map(|app| format!("{}\n", app.record.id)).collect::<String>())?;
    } else {
        let rows: Vec<_> = apps.iter().map(row).collect();
        let header =
            ["ID", "IMAGE", "TYPE", "MEMORY", "DOMID", "STATUS", "ADDRESS", "PORTS", "NAME"];
        print(&table::render(&header, &rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(app: &App) -> Vec<String> {
    let (record, state) = (&app.record, &app.state);
    let ports: Vec<String> = record.publish.iter().map(ToString::to_string).collect();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    vec![
        record.id.clone(),
        record.image.clone(),
        record.machine.kind.to_string(),
        format!("{} MiB", record.machine.memory_mib),
        or_dash(state.domid.map(|domid| domid.to_string())),
        status(app),
        or_dash(state.address.map(|address| address.to_string())),
        or_dash(Some(ports.join(", ")).filter(|ports| !ports.is_empty())),
        record.name.clone(),
    ]
}

fn status(app: &App) -> String {
    let since = |unix_ms: Option<u64>| {
        table::age(now_ms().saturating_sub(unix_ms.unwrap_or_default()) / 1000)
    };
    match app.state.phase {
        Phase::Created => "created".into(),
        Phase::Starting => "starting".into(),
        Phase::Running => format!("up {}", since(app.state.started_unix_ms)),
        Phase::Exited => {
            let code = app.state.outcome.as_ref().map_or(0, |outcome| outcome.code);
            format!("exited ({code}) {} ago", since(app.state.finished_unix_ms))
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
