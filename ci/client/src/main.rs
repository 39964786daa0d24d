//! The client of the benchmarks in dom0, as one static program:
//!
//! - `lab-client measure QUESTION ADDRESS:PORT SECONDS COMMAND…` measures one start;
//! - `lab-client several in-a-row|at-once QUESTION SECONDS` measures starts, read from a JSON array on its input;
//! - `lab-client load REQUEST ADDRESS:PORT CONNECTIONS SECONDS` loads an app;
//! - `lab-client attach BRIDGE OUTSIDE ADDRESS BITS GATEWAY` is the network hook of a bundle;
//! - `lab-client boot DOMAIN CONSOLE SECONDS` times a paused domain's kernel;
//! - as `/init` it is the first program of that domain.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use lab_client::attach::{Interface, attach};
use lab_client::boot::{run_as_init, watch};
use lab_client::load::load;
use lab_client::measure::One;
use lab_client::several;
use lab_client::start::{Asking, measure};
use lab_client::wire::Asked;
use std::str::FromStr;
use std::time::Duration;

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-client: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words = &mut std::env::args();
    // The kernel passes words of its own command line to its first program; they have no meaning here.
    if words.next().is_some_and(|own| own == "/init") && std::process::id() == 1 {
        return run_as_init();
    }
    match next::<String>(words, "what to do")?.as_str() {
        "measure" => {
            let question = next(words, "question")?;
            let address = next(words, "address")?;
            let seconds = Duration::from_secs(next(words, "number of seconds")?);
            let command: Vec<String> = words.collect();
            let asking = Asking { question, address, patience: seconds, rivals: 1 };
            let measured = measure(&asking, &command)?;
            println!("{}", serde_json::to_string(&measured)?);
            Ok(())
        }
        "several" => {
            let how = match next::<String>(words, "way")?.as_str() {
                "in-a-row" => several::in_a_row,
                "at-once" => several::at_once,
                other => bail!("{other:?} is not in-a-row or at-once"),
            };
            let question = next(words, "question")?;
            let seconds = Duration::from_secs(next(words, "number of seconds")?);
            let all: Vec<One> = serde_json::from_reader(std::io::stdin())?;
            println!("{}", serde_json::to_string(&how(question, seconds, &all)?)?);
            Ok(())
        }
        "load" => {
            let asked: Asked = next(words, "request")?;
            let (address, connections) =
                (next(words, "address")?, next(words, "number of connections")?);
            let seconds = Duration::from_secs(next(words, "number of seconds")?);
            println!("{}", serde_json::to_string(&load(&asked, address, connections, seconds)?)?);
            Ok(())
        }
        "attach" => {
            let interface = Interface {
                bridge: next(words, "bridge")?,
                outside: next(words, "name")?,
                address: next(words, "address")?,
                prefix_bits: next(words, "number of bits")?,
                gateway: next(words, "gateway")?,
            };
            attach(std::io::stdin(), &interface)
        }
        "boot" => {
            let (domain, console): (String, String) =
                (next(words, "domain")?, next(words, "console")?);
            let seconds = Duration::from_secs(next(words, "number of seconds")?);
            println!("{}", serde_json::to_string(&watch(&domain, &console, seconds)?)?);
            Ok(())
        }
        other => bail!("{other:?} is not measure, several, load, attach or boot"),
    }
}

fn next<T: FromStr>(words: &mut impl Iterator<Item = String>, what: &str) -> Result<T> {
    let word = words.next().with_context(|| format!("the {what} is missing"))?;
    word.parse().ok().with_context(|| format!("{word:?} is not a valid {what}"))
}
