//! `launch ps`: list apps.

mod filter;

use super::describe::{network, state_word};
use crate::here::Here;
use crate::listing::{self, Field, Format};
use crate::output::print;
use crate::table;
use anyhow::Result;
use app::{App, Apps, Condition, Phase, timestamp};
use filter::Filter;
use serde_json::{Value, json};
use std::process::ExitCode;

/// The fields of each app in JSON and templates: Docker's names first, then those that only a domain has.
const FIELDS: [Field; 17] = [
    ("ID", "ID"),
    ("Names", "NAME"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Labels", "LABELS"),
    ("Networks", "NETWORKS"),
    ("Size", "SIZE"),
    ("Type", "TYPE"),
    ("Memory", "MEMORY"),
    ("VCPUs", "VCPUS"),
    ("Domid", "DOMID"),
    ("Address", "ADDRESS"),
];
const COLUMNS: [&str; 9] =
    ["ID", "Image", "Type", "Memory", "Domid", "Status", "Address", "Ports", "Names"];

/// Which apps to list, and which columns.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Filters: id, name (a part of it), label=KEY or label=KEY=VALUE, status (created, running, paused,
restarting, exited, dead), exited=CODE, ancestor=IMAGE, before=APP, since=APP. An app is listed if it
matches at least one filter of each kind that is given, and all filters by label.")]
pub(crate) struct Args {
    /// Also list apps that do not run
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only list apps that match a filter; may be given several times
    #[arg(short, long, value_name = "KIND=VALUE")]
    filter: Vec<Filter>,
    /// table, json (one object a line), or a Go template such as '{{.Names}} {{.Status}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only the N apps created last, whether they run or not
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Only the app created last, whether it runs or not
    #[arg(short, long)]
    latest: bool,
    /// Accepted for Docker's sake: nothing is shortened
    #[arg(long, hide = true)]
    no_trunc: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let format = Format::parse(args.format.as_deref())?;
    let apps = Here::new()?.apps()?;
    let mut list = apps.list()?;
    let last = if args.latest { Some(1) } else { args.last };
    // As in Docker, a filter by state, --last and --latest imply --all.
    let all = args.all || last.is_some() || args.filter.iter().any(Filter::is_of_state);
    let facts = filter::Facts::of(&apps, &list, &args.filter)?;
    list.retain(|app| all || is_up(app));
    list.retain(|app| facts.fit(app));
    list.truncate(last.unwrap_or(usize::MAX));
    if args.quiet {
        print(&list.iter().map(|app| format!("{}\n", app.record.id)).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> = list.iter().map(|app| row(&apps, app)).collect();
    listing::show(&format, &FIELDS, &COLUMNS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether an app is listed without flags.
fn is_up(app: &App) -> bool {
    matches!(app.state.phase(), Phase::Running | Phase::Starting | Phase::Restarting)
}

fn row(apps: &Apps, app: &App) -> Value {
    let (record, state) = (&app.record, &app.state);
    let list = |items: Vec<String>, separator: &str| items.join(separator);
    // Uncleaned here: tables and templates clean them, and JSON shows them unchanged.
    let labels = (record.labels.iter())
        .map(|(key, value)| format!("{}={}", key.raw(), value.raw()))
        .collect();
    let there = app::condition(apps, app) != Some(Condition::Gone);
    let domid = state.domid().filter(|_| there);
    json!({
        "ID": record.id,
        "Names": record.name,
        "Image": record.image,
        "Command": record.process.args.join(" "),
        "CreatedAt": timestamp::render(record.created_unix_ms.saturating_mul(1_000_000)),
        "RunningFor": format!("{} ago", since(Some(record.created_unix_ms))),
        "State": state_word(apps, app),
        "Status": status(apps, app),
        "Ports": list(record.publish.iter().map(ToString::to_string).collect(), ", "),
        "Labels": list(labels, ","),
        "Networks": network(app),
        "Size": format!("{} MiB", record.storage_mib),
        "Type": record.shape.kind.to_string(),
        "Memory": format!("{} MiB", record.shape.memory_mib),
        "VCPUs": record.shape.vcpus,
        "Domid": domid.map(|domid| domid.0),
        "Address": state.address(),
    })
}

fn status(apps: &Apps, app: &App) -> String {
    let code = app.state.outcome().map_or(0, |outcome| outcome.code());
    let finished = || since(app.state.finished_unix_ms());
    match app.state.phase() {
        Phase::Created => "Created".into(),
        Phase::Starting => "Starting".into(),
        Phase::Running => {
            let up = || format!("Up {}", since(app.state.started_unix_ms()));
            match app::condition(apps, app) {
                Some(Condition::Paused) => format!("{} (Paused)", up()),
                Some(Condition::Gone) => "Dead (its domain is gone)".into(),
                Some(Condition::Runs) | None => up(),
            }
        }
        Phase::Restarting => format!("Restarting ({code}) {} ago", finished()),
        Phase::Exited => format!("Exited ({code}) {} ago", finished()),
    }
}

fn since(unix_ms: Option<u64>) -> String {
    let now_ms = timestamp::now_ns() / 1_000_000;
    table::age(now_ms.saturating_sub(unix_ms.unwrap_or_default()) / 1000)
}
