//! `launch images`: list images.

use crate::here::{Here, print};
use crate::table;
use anyhow::Result;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// How much to show of each image.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only digests
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let images = Here::new()?.images()?.list()?;
    if args.quiet {
        print(&images.iter().map(|image| format!("{}\n", image.digest)).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut rows = Vec::new();
    for image in &images {
        let digest = image.digest.to_string();
        let short = digest.split(':').next_back().unwrap_or_default().chars().take(12).collect();
        let age = table::age(now.saturating_sub(image.created_unix));
        let names = if image.names.is_empty() { "-".into() } else { image.names.join(", ") };
        rows.push(vec![names, short, format!("{age} ago"), table::size(image.disk_bytes)]);
    }
    print(&table::render(&["NAME", "DIGEST", "CONVERTED", "DISK"], &rows))?;
    Ok(ExitCode::SUCCESS)
}
