//! `lab-startup-client QUESTION ADDRESS:PORT SECONDS COMMAND…`: measures one start, in dom0.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use lab::startup::client::measure;
use std::time::Duration;

fn main() -> std::process::ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("lab-startup-client: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String> {
    let mut words = std::env::args().skip(1);
    let mut next = |what| words.next().with_context(|| format!("no {what} was given"));
    let question = next("question")?.parse()?;
    let address = next("address")?;
    let address = address.parse().with_context(|| format!("{address:?} is no address"))?;
    let seconds = next("number of seconds")?.parse().context("no number of seconds")?;
    let command: Vec<String> = words.collect();
    let measured = measure(question, address, Duration::from_secs(seconds), &command)?;
    Ok(serde_json::to_string(&measured)?)
}
