//! `launch stats`: the resources that apps use, as counted by Xen, dom0's backends and the guest.

use crate::here::Here;
use crate::listing::{self, Field, Format};
use crate::output::print;
use crate::table;
use anyhow::Result;
use app::guest;
use app::{App, Apps, Phase, Usage};
use contract::talk::Stats;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// The fields of each app in JSON and templates, with Docker's names; Docker does not have `VCPUs`.
const FIELDS: [Field; 10] = [
    ("ID", "ID"),
    ("Container", "APP"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
    ("VCPUs", "VCPUS"),
];
const COLUMNS: [&str; 9] =
    ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs", "VCPUs"];
/// How long a guest may take to answer; a paused guest never does.
const GUEST_PATIENCE: Duration = Duration::from_secs(1);
/// How often figures are read, and over how long processor time is measured.
const ROUND: Duration = Duration::from_secs(1);
/// Moves the cursor to the top left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The apps, and how often to show their figures.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also show apps that do not run
    #[arg(short, long)]
    all: bool,
    /// Show the figures once and end
    #[arg(long)]
    no_stream: bool,
    /// table, json (one object a line), or a Go template such as '{{.Name}} {{.CPUPerc}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted for Docker's sake: nothing is shortened
    #[arg(long, hide = true)]
    no_trunc: bool,
    /// Names, or beginnings of names or ids; without any, all running apps
    apps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let format = Format::parse(args.format.as_deref())?;
    let apps = Here::new()?.apps()?;
    let clear = if std::io::stdout().is_terminal() && !args.no_stream { CLEAR } else { "" };
    let mut before = measure(&apps, &wanted(args, &apps)?);
    loop {
        std::thread::sleep(ROUND);
        let list = wanted(args, &apps)?;
        let now = measure(&apps, &list);
        let rows: Vec<Value> = (list.iter())
            .map(|app| row(app, before.get(&app.record.id), now.get(&app.record.id)))
            .collect();
        print(&format!("{clear}{}", listing::render(&format, &FIELDS, &COLUMNS, &rows)?))?;
        if args.no_stream {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

fn wanted(args: &Args, apps: &Apps) -> Result<Vec<App>> {
    if args.apps.is_empty() {
        let mut list = apps.list()?;
        list.retain(|app| args.all || app.state.phase() == Phase::Running);
        return Ok(list);
    }
    args.apps.iter().map(|name| Ok(apps.find(name)?)).collect()
}

/// The figures of an app from Xen, and from its guest if it answers.
type Figures = (Usage, Option<Stats>);

/// The figures of the running apps; an app that ends meanwhile has none. Asks all guests at once, so that none makes
/// the others wait.
fn measure(apps: &Apps, list: &[App]) -> HashMap<String, Figures> {
    let measure_one = |app: &App| {
        let guest = guest::stats(apps, app, GUEST_PATIENCE).ok();
        Some((app.record.id.clone(), (app::usage(apps, app).ok()?, guest)))
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = list.iter().map(|app| scope.spawn(move || measure_one(app))).collect();
        asked.into_iter().filter_map(|asked| asked.join().ok()?).collect()
    })
}

fn row(app: &App, before: Option<&Figures>, now: Option<&Figures>) -> Value {
    let pair =
        |first: u64, second: u64| format!("{} / {}", table::size(first), table::size(second));
    let mut row = json!({
        "ID": app.record.id, "Container": app.record.name, "Name": app.record.name,
        "CPUPerc": "--", "MemUsage": "-- / --", "MemPerc": "--", "NetIO": "-- / --",
        "BlockIO": "-- / --", "PIDs": "--", "VCPUs": app.record.shape.vcpus,
    });
    if let Some((now, guest)) = now {
        let cpu = now.cpu_percent_since(before.map_or(now, |(before, _)| before));
        row["CPUPerc"] = format!("{cpu:.2}%").into();
        if let Some(guest) = guest {
            // All memory except what is available at once; the kernel's own counts as used.
            let free = guest.memory_available_bytes.min(now.memory_limit_bytes);
            let used = now.memory_limit_bytes - free;
            #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
            let share = used as f64 / now.memory_limit_bytes.max(1) as f64 * 100.0;
            row["MemUsage"] = pair(used, now.memory_limit_bytes).into();
            row["MemPerc"] = format!("{share:.2}%").into();
            row["PIDs"] = guest.processes.into();
        }
        row["NetIO"] = pair(now.received_bytes, now.sent_bytes).into();
        row["BlockIO"] = pair(now.read_bytes, now.written_bytes).into();
        row["VCPUs"] = now.vcpus.into();
    }
    row
}
